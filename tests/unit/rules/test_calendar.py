"""When schedules fire: as clocks show the time, through every change of them, and never twice for one slot.

AIKI_CALENDAR_DAYS=1095 walks through all of the three years of each zone, and not just what lies around its changes.
"""

import os
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiki.core.errors import UsageError
from aiki.core.moments import SECOND, to_wire
from aiki.rules import crons
from aiki.rules.calendar import END, Span, check_spec, fires_at, moved, shown, slots, spanned, upcoming, zones
from aiki.rules.zones import zone
from aiki.wire.messages.schedules import Spec
from tests.unit.rules.walls import changes, clock, walk

DAYS = int(os.environ.get("AIKI_CALENDAR_DAYS", "0"))
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND

ZONES = {
    # the first of the three years in which its clocks are changed
    "Africa/Cairo": 2023,
    "Africa/Casablanca": 2024,
    "America/Asuncion": 2022,
    "America/Caracas": 2007,
    "America/Havana": 2024,
    "America/New_York": 2025,
    "America/Nuuk": 2022,
    "America/Santiago": 2024,
    "America/St_Johns": 2009,
    "Antarctica/Casey": 2018,
    "Antarctica/Troll": 2024,
    "Asia/Beirut": 2024,
    "Asia/Gaza": 2022,
    "Asia/Pyongyang": 2016,
    "Asia/Tehran": 2020,
    "Australia/Lord_Howe": 2024,
    "Europe/Berlin": 2024,
    "Europe/Dublin": 2024,
    "Pacific/Apia": 2010,
    "Pacific/Chatham": 2024,
}
CRONS = (
    "* * * * *",
    "*/20 1-3 * * *",
    "30 * * * *",
    "15 */2 * * *",
    "0 0 * * *",
    "30 2 * * *",
    "0,30,59 1,2,3 * * *",
    "5 0-23 * * 0,6",
    "45 23 1-7,25-31 3,4,9-11 0",
)


def at(*parts: int, timezone: str = "UTC") -> int:
    return to_wire(datetime(*parts, tzinfo=ZoneInfo(timezone)), what="a time")  # type: ignore[arg-type, misc]


def first_slots(spec: Spec, after: int, count: int = 3) -> list[str]:
    there = zone(spec.timezone)
    found = islice(slots(spec, after), count)
    return [datetime.fromtimestamp(slot // SECOND, there).isoformat(timespec="minutes") for slot in found]


@pytest.mark.parametrize(("name", "year"), ZONES.items())
def test_crons_fire_when_a_walk_over_the_clock_finds_them_to(name: str, year: int) -> None:
    there = ZoneInfo(name)
    begins = [day - timedelta(days=1) for day in changes(there, year, 3)]
    assert begins
    for begin in [datetime(year, 1, 1, tzinfo=UTC)] if DAYS else begins:
        known = clock(there, begin, DAYS or 3)
        for cron in CRONS:
            spec = Spec(cron=cron, timezone=name)
            found = slots(spec, known.start * MINUTE - 1)
            # What clocks have shown before the walk begins it does not know.
            expected = [minute for minute in walk(cron, known) if minute >= known.start + 600]
            ours = (slot // MINUTE for slot in found if slot >= (known.start + 600) * MINUTE)
            assert list(islice(ours, len(expected))) == expected, (cron, begin)
            assert next(ours, known.end) >= known.end, (cron, begin)
            for early, late in islice(pairwise(expected), 0, None, len(expected) // 40 + 1):
                assert next(slots(spec, early * MINUTE)) == late * MINUTE, (cron, early)


def test_no_zone_goes_back_by_more_than_the_walk_begins_early() -> None:
    for name in {"Antarctica/Vostok", *sorted(zoneinfo.available_timezones())[:: 1 if DAYS else 20]}:
        there = ZoneInfo(name)
        weeks = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(weeks=week) for week in range(60 * 52))
        offsets = [there.utcoffset(week.replace(tzinfo=there)) or timedelta() for week in weeks]
        assert all(before - behind < timedelta(hours=8) for before, behind in pairwise(offsets)), name


def test_a_time_that_clocks_skip_fires_right_behind_the_jump_and_one_shown_twice_at_the_first() -> None:
    spec = Spec(cron="30 2 * * *", timezone="Europe/Berlin")
    spring = first_slots(spec, at(2026, 3, 28, 12))
    assert spring == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00", "2026-03-31T02:30+02:00"]
    autumn = first_slots(spec, at(2026, 10, 24, 12))
    assert autumn == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00", "2026-10-27T02:30+01:00"]


def test_what_is_due_each_hour_follows_real_time() -> None:
    spec = Spec(cron="30 * * * *", timezone="Europe/Berlin")
    assert first_slots(spec, at(2026, 10, 25, 0)) == [
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:30+01:00",
    ]


def test_half_an_hour_back_loses_no_slot() -> None:
    spec = Spec(cron="*/15 2 * * *", timezone="Australia/Lord_Howe")
    assert first_slots(spec, at(2026, 4, 4, 13), 2) == ["2026-04-05T02:00+10:30", "2026-04-05T02:15+10:30"]


def test_a_day_that_clocks_skip_fires_once_behind_it() -> None:
    spec = Spec(cron="0 2,14 * * *", timezone="Pacific/Apia")
    assert first_slots(spec, at(2011, 12, 29, 13)) == [
        "2011-12-29T14:00-10:00",
        "2011-12-31T00:00+14:00",
        "2011-12-31T02:00+14:00",
    ]


WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@Midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@pytest.mark.parametrize(("word", "cron"), WORDS.items())
def test_a_word_stands_for_a_cron(word: str, cron: str) -> None:
    check_spec(Spec(cron=word))
    after = at(2026, 5, 4)
    assert [*islice(slots(Spec(cron=word), after), 5)] == [*islice(slots(Spec(cron=cron), after), 5)]


def test_days_may_be_the_last_or_the_nth_of_a_month() -> None:
    assert first_slots(Spec(cron="0 0 L * *"), at(2028, 1, 31), 2) == [
        "2028-02-29T00:00+00:00",
        "2028-03-31T00:00+00:00",
    ]
    assert first_slots(Spec(cron="0 0 * * MON#2"), at(2026, 5, 1), 1) == ["2026-05-11T00:00+00:00"]
    assert first_slots(Spec(cron="0 0 * * 5L"), at(2026, 5, 1), 1) == ["2026-05-29T00:00+00:00"]


def test_leap_days_are_found_far_off_and_at_once() -> None:
    began = process_time()
    assert first_slots(Spec(cron="0 0 29 2 *"), at(2096, 3, 1), 1) == ["2104-02-29T00:00+00:00"]
    assert first_slots(Spec(cron="0 0 29 2 */7"), at(2088, 3, 1), 1) == ["2128-02-29T00:00+00:00"]
    assert process_time() - began < 0.5


def test_time_ends_with_the_year_9999() -> None:
    assert len([*slots(Spec(cron="0 12 * * *", timezone="Pacific/Apia"), END - 36 * HOUR)]) == 2
    for spec in (Spec(cron="* * * * *", timezone="Pacific/Apia"), Spec(every=SECOND), Spec(at=END + 1)):
        assert [*slots(spec, END)] == [*slots(spec, 10**30)] == []
    assert next(slots(Spec(cron="0 0 1 1 *"), -(10**30))) == 0


def test_intervals_are_counted_from_their_anchor_in_real_time() -> None:
    spec = Spec(every=7 * HOUR, anchor=at(2026, 1, 1), start=at(2025, 12, 31, 12), end=at(2026, 1, 1, 8))
    assert [*slots(spec, 0)] == [at(2025, 12, 31, 17), at(2026, 1, 1), at(2026, 1, 1, 7)]
    assert spanned(spec, 0, at(2026, 1, 1)) == Span(at(2025, 12, 31, 17), at(2026, 1, 1), 2)
    assert spanned(spec, at(2026, 1, 1, 7), END) is None


def test_a_thousand_years_of_seconds_are_counted_at_once() -> None:
    span = spanned(Spec(every=SECOND), at(2026, 1, 1), at(3026, 1, 1))
    assert span is not None
    assert span.count == (at(3026, 1, 1) - at(2026, 1, 1)) // SECOND


def test_minutes_are_counted_by_the_hour() -> None:
    cron = crons.read("* * * * *")
    for name in ("UTC", "Europe/Berlin", "Australia/Lord_Howe"):
        found = [*crons.rows(cron, zone(name), at(2026, 6, 1) - 1, at(2026, 6, 2))]
        assert len(found) <= 25
        assert [slot for row in found for slot in row if slot < at(2026, 6, 2)] == [
            *range(at(2026, 6, 1), at(2026, 6, 2), MINUTE)
        ]


def test_one_time_is_one_slot() -> None:
    assert [*slots(Spec(at=5 * MINUTE), 5 * MINUTE - 1)] == [5 * MINUTE]
    assert [*slots(Spec(at=5 * MINUTE), 5 * MINUTE)] == []


def test_jitter_is_spread_evenly_and_ends_before_the_next_slot() -> None:
    spec = Spec(cron="*/10 * * * *", jitter=HOUR)
    late = [fires_at(spec, "s", slot) - slot for slot in islice(slots(spec, 0), 2000)]
    assert 0 <= min(late) < max(late) < 10 * MINUTE
    tenths = [sum(lag // MINUTE == tenth for lag in late) for tenth in range(10)]
    assert all(140 < tenth < 260 for tenth in tenths)
    assert fires_at(spec, "s", 600 * SECOND) != fires_at(spec, "t", 600 * SECOND)
    assert fires_at(Spec(at=MINUTE, jitter=HOUR), "s", MINUTE) < MINUTE + HOUR
    assert upcoming(spec, "s", 0, 2) == [
        (slot, slot + lag) for slot, lag in zip(islice(slots(spec, 0), 2), late, strict=False)
    ]


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (Spec(), "by one of cron, every and at"),
        (Spec(cron="@daily", every=HOUR), "by one of cron, every and at"),
        (Spec(cron="61 * * * *"), "'61' is no minute"),
        (Spec(cron="0 24 * * *"), "'24' is no hour"),
        (Spec(cron="0 0 0 * *"), "'0' is no day of the month"),
        (Spec(cron="0 0 * JANUARY *"), "'JANUARY' is no month"),
        (Spec(cron="0 0 * * FRI-MON"), "'FRI-MON' is no day of the week"),
        (Spec(cron="*/0 * * * *"), "'*/0' is no minute"),
        (Spec(cron="* * * * * *"), "has 6 fields, and needs five"),
        (Spec(cron=""), "has 0 fields"),
        (Spec(cron="@reboot"), "'@reboot' is no word"),
        (Spec(cron="@every 5m"), "has 2 fields"),
        (Spec(cron="0 0 31 2 *"), "never fires"),
        (Spec(cron="0 0 30,31 2 *"), "never fires"),
        (Spec(cron="0 0 */28 * TUE#2"), "never fires"),
        (Spec(cron="1" * 900 + " * * * *"), "is no minute"),
        (Spec(cron="*/" + "9" * 900 + "x * * * *"), "is no minute"),
        (Spec(every=SECOND - 1), "at least a second"),
        (Spec(every=-1), "at least a second"),
        (Spec(cron="@daily", timezone="Europe/Berlim"), "'Europe/Berlim'"),
        (Spec(cron="@daily", timezone="../../etc/passwd"), "none that this machine knows"),
        (Spec(cron="@daily", timezone="a/" * 500), "none that this machine knows"),
        (Spec(cron="@daily", timezone="Europe"), "none that this machine knows"),
        (Spec(cron="@daily", timezone="a\0b"), "none that this machine knows"),
        (Spec(cron="@daily", timezone=""), "none that this machine knows"),
        (Spec(cron="@daily", timezone="Zürich"), "none that this machine knows"),
        (Spec(cron="@daily", jitter=-1), "not negative or endless"),
        (Spec(cron="@daily", jitter=END), "not negative or endless"),
        (Spec(cron="@daily", window=-1), "not negative or endless"),
        (Spec(at=-1), "at of a schedule lies between"),
        (Spec(every=HOUR, anchor=END), "anchor of a schedule lies between"),
        (Spec(cron="@daily", start=HOUR, end=HOUR), "the end of a schedule lies behind its start"),
        (Spec(cron="@daily", start=HOUR, end=2 * HOUR), "the schedule never fires"),
        (Spec(at=HOUR, start=2 * HOUR), "the schedule never fires"),
    ],
)
def test_what_is_no_schedule_is_refused_by_name(spec: Spec, what: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_spec(spec)
    assert what in raised.value.message


def test_a_zone_that_was_meant_is_named() -> None:
    with pytest.raises(UsageError) as raised:
        check_spec(Spec(cron="@daily", timezone="europe/berlim"))
    assert raised.value.hint == 'timezone="Europe/Berlin"'


FIELDS = [
    st.sampled_from(["*", *few])
    for few in (
        ("0", "30", "*/7", "5,59", "0-10/5"),
        ("2", "*/5", "0,23", "1-3"),
        ("1", "29", "L", "LW", "*/3"),
        ("3", "2,11", "*/4"),
        ("0", "1-5", "MON#1", "5L"),
    )
]
CRON_SPECS = st.builds(
    lambda fields, name: Spec(cron=" ".join(fields), timezone=name), st.tuples(*FIELDS), st.sampled_from([*ZONES])
)
INTERVALS = st.builds(
    lambda every, anchor: Spec(every=every, anchor=anchor), st.integers(SECOND, 10**14), st.integers(0, 10**15)
)
SOME_FIELD = st.text("0123456789*/,-#LWSUNMOJAF", min_size=1, max_size=6)


@given(place=st.integers(0, 4), field=SOME_FIELD | st.text(max_size=20), whole=st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_cron_or_refused(place: int, field: str, whole: str) -> None:
    for text in (whole, " ".join(["*"] * place + [field] + ["*"] * (4 - place))):
        try:
            check_spec(Spec(cron=text))
        except UsageError:
            continue
        assert next(slots(Spec(cron=text), 0)) > 0


@given(spec=CRON_SPECS | INTERVALS, after=st.integers(0, at(2100, 1, 1)), data=st.data())
@settings(max_examples=200, deadline=None)
def test_slots_rise_and_none_is_lost_wherever_one_begins(spec: Spec, after: int, data: st.DataObject) -> None:
    found = [*islice(slots(spec, after), 40)]
    assert all(early < late for early, late in pairwise([after, *found]))
    begin = data.draw(st.integers(after, found[-1]))
    behind = [slot for slot in found if slot > begin]
    assert [*islice(slots(spec, begin), len(behind))] == behind
    count = len(found) - len(behind)
    assert spanned(spec, after, begin) == (Span(found[0], found[count - 1], count) if count else None)


# -- zone data that changes


def test_a_time_of_the_day_that_has_fired_fires_no_second_time_by_new_data() -> None:
    spec = Spec(cron="0 1,2 * * *", timezone="Europe/Berlin")
    fired = at(2026, 7, 1, 1)  # by old data clocks showed 2:00 then; by that of now they show it an hour before
    assert moved(spec, fired, "1999a 2026-07-01T02:00:00") == fired
    late = at(2026, 6, 30, 23)  # by old data 2:00, by that of now 1:00
    assert moved(spec, late, "1999a 2026-07-01T02:00:00") == at(2026, 7, 1)
    assert first_slots(spec, at(2026, 7, 1), 1) == ["2026-07-02T01:00+02:00"]


@pytest.mark.parametrize("spec", [Spec(every=HOUR), Spec(cron="*/30 * * * *", timezone="Europe/Berlin"), Spec(at=5)])
def test_what_follows_real_time_cares_for_no_data(spec: Spec) -> None:
    assert moved(spec, 5, "1999a 2026-07-01T02:00:00") == 5


def test_the_same_data_moves_nothing() -> None:
    spec = Spec(cron="30 2 * * *", timezone="Europe/Berlin")
    for moment in (at(2026, 3, 29, 1), at(2026, 10, 25, 1, 30), at(2026, 10, 25, 0, 30)):
        assert moved(spec, moment, shown(spec, moment)) == moment
    assert moved(spec, 7, "") == 7


def test_the_zone_data_has_a_version_that_its_processes_agree_on() -> None:
    assert zones()
    assert shown(Spec(at=0), 0) == f"{zones()} 1970-01-01T00:00:00"
