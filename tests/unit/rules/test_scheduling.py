"""What a look at a schedule decides: overlap, catching up, pauses and clocks that jump."""

import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aiki.core.errors import UsageError
from aiki.core.moments import SECOND, to_wire
from aiki.core.states import TERMINAL, State
from aiki.rules.calendar import fires_at, shown
from aiki.rules.scheduling import (
    CHANGED,
    FULL,
    LATE,
    MOVED,
    OLD,
    ON_TIME,
    OPEN,
    PAUSED,
    REPLACED,
    Decided,
    Decision,
    Kind,
    Look,
    Waiting,
    backfill,
    check_begin,
    decide,
    fired_run_id,
    is_open,
    next_slots,
    restart,
    trigger,
)
from aiki.wire.limits import QUEUED_SLOTS, SLOTS
from aiki.wire.messages.schedules import CatchUp, Overlap, Spec

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
BEGIN = to_wire(datetime(2026, 5, 4, 12, tzinfo=UTC), what="a time")
TEN: Spec = Spec(every=10 * MINUTE, overlap="allow")
"""Every ten minutes, the last of them at BEGIN."""


def look(spec: Spec = TEN, *, after: int = 10 * MINUTE, open: int = 0, queued: int = 0, paused: bool = False) -> Look:
    """Return a schedule that was decided up to BEGIN, some time later; with slots that wait since before."""
    waiting = [Waiting("slot", BEGIN - count * 10 * MINUTE) for count in range(queued, 0, -1)]
    return Look(id="s", spec=spec, now=BEGIN + after, decided=BEGIN, open=open, queued=waiting, paused=paused)


def told(decision: Decision) -> list[tuple[str, int, str]]:
    """Return of each row its result, how many slots of ten minutes it lies behind BEGIN, and the reason."""
    return [(row.result, (row.slot - BEGIN) // (10 * MINUTE), row.reason) for row in decision.rows]


def counts(decision: Decision) -> list[tuple[str, int]]:
    return [(row.result, row.count) for row in decision.rows]


# -- on time


def test_a_slot_starts_when_its_time_has_come_and_not_before() -> None:
    before = decide(look(after=10 * MINUTE - 1))
    assert (before.rows, before.decided, before.look_at) == ((), BEGIN, BEGIN + 10 * MINUTE)
    then = decide(look())
    assert told(then) == [("started", 1, "")]
    assert (then.decided, then.look_at) == (BEGIN + 10 * MINUTE, BEGIN + 20 * MINUTE)


def test_with_jitter_it_starts_at_its_firing_time() -> None:
    spec = Spec(every=10 * MINUTE, jitter=5 * MINUTE)
    fires = fires_at(spec, "s", BEGIN + 10 * MINUTE)
    assert fires > BEGIN + 10 * MINUTE
    early = decide(look(spec, after=fires - BEGIN - 1))
    assert (early.rows, early.look_at) == ((), fires)
    assert told(decide(look(spec, after=fires - BEGIN))) == [("started", 1, "")]


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_a_daemon_that_is_a_minute_behind_loses_nothing(catch_up: CatchUp) -> None:
    spec = Spec(every=SECOND, overlap="allow", catch_up=catch_up, window=0)
    assert counts(decide(look(spec, after=60 * SECOND))) == [("started", 1)] * 60


def test_what_is_on_time_is_fired_whatever_is_late_and_however_narrow_the_window() -> None:
    spec = Spec(every=SECOND, overlap="allow", window=0)
    assert counts(decide(look(spec, after=90 * SECOND))) == [("missed", 29), *[("started", 1)] * 61]


def test_a_slot_is_late_by_its_firing_time() -> None:
    spec = Spec(every=10 * MINUTE, jitter=5 * MINUTE, catch_up="none")
    fires = fires_at(spec, "s", BEGIN + 10 * MINUTE)
    assert told(decide(look(spec, after=fires - BEGIN + ON_TIME))) == [("started", 1, "")]
    assert told(decide(look(spec, after=fires - BEGIN + ON_TIME + 1))) == [("missed", 1, LATE_NONE)]


def test_a_schedule_without_another_slot_is_not_looked_at_again() -> None:
    decision = decide(look(Spec(at=BEGIN + 1), after=1))
    assert ([row.result for row in decision.rows], decision.look_at) == (["started"], None)


# -- late: an outage of two hours, the last slot of which is a moment or five minutes old

LATE_NONE, LATE_LATEST = LATE.format("none"), LATE.format("latest")


@pytest.mark.parametrize(
    ("catch_up", "rows"),
    [
        ("none", [("missed", 1, LATE_NONE), ("started", 12, "")]),
        ("latest", [("missed", 1, LATE_LATEST), ("started", 12, "")]),
        ("all", [("started", slot, "") for slot in range(1, 13)]),
    ],
)
def test_an_outage_that_ends_as_a_slot_is_due(catch_up: CatchUp, rows: list[tuple[str, int, str]]) -> None:
    decision = decide(look(Spec(every=10 * MINUTE, overlap="allow", catch_up=catch_up), after=2 * HOUR))
    assert told(decision) == rows
    assert sum(row.count for row in decision.rows) == 12


@pytest.mark.parametrize(
    ("catch_up", "rows"),
    [
        ("none", [("missed", 1, LATE_NONE)]),
        ("latest", [("missed", 1, LATE_LATEST), ("started", 12, "")]),
        ("all", [("started", slot, "") for slot in range(1, 13)]),
    ],
)
def test_an_outage_that_ends_between_two_slots(catch_up: CatchUp, rows: list[tuple[str, int, str]]) -> None:
    spec = Spec(every=10 * MINUTE, overlap="allow", catch_up=catch_up)
    decision = decide(look(spec, after=2 * HOUR + 5 * MINUTE))
    assert told(decision) == rows
    assert (decision.decided, decision.look_at) == (BEGIN + 2 * HOUR, BEGIN + 2 * HOUR + 10 * MINUTE)


def test_slots_in_a_row_that_are_missed_are_one_row() -> None:
    (row,) = decide(look(Spec(every=10 * MINUTE, catch_up="none"), after=2 * HOUR + 5 * MINUTE)).rows
    assert row == Decided("slot", BEGIN + 10 * MINUTE, "missed", LATE_NONE, BEGIN + 2 * HOUR, 12)
    (one,) = decide(look(Spec(every=10 * MINUTE, catch_up="none"), after=12 * MINUTE)).rows
    assert one == Decided("slot", BEGIN + 10 * MINUTE, "missed", LATE_NONE)


@pytest.mark.parametrize(
    ("catch_up", "rows"),
    [
        ("none", [("missed", 1, OLD), ("missed", 9, LATE_NONE)]),
        ("latest", [("missed", 1, OLD), ("missed", 9, LATE_LATEST), ("started", 12, "")]),
        ("all", [("missed", 1, OLD), *(("started", slot, "") for slot in range(9, 13))]),
    ],
)
def test_what_is_older_than_the_window_is_missed(catch_up: CatchUp, rows: list[tuple[str, int, str]]) -> None:
    spec = Spec(every=10 * MINUTE, overlap="allow", catch_up=catch_up, window=40 * MINUTE)
    assert told(decide(look(spec, after=2 * HOUR + 5 * MINUTE))) == rows


def test_the_latest_too_is_missed_if_it_is_older_than_the_window() -> None:
    spec = Spec(every=10 * MINUTE, window=2 * MINUTE)
    assert told(decide(look(spec, after=2 * HOUR + 5 * MINUTE))) == [("missed", 1, OLD)]


def test_a_long_outage_is_caught_up_with_in_commits_of_a_hundred() -> None:
    spec = Spec(every=MINUTE, overlap="allow", catch_up="all", window=10 * HOUR)
    seen = []
    now = look(spec, after=5 * HOUR)
    while (decision := decide(now)).rows:
        seen.append(len(decision.rows))
        assert decision.look_at is not None
        assert (decision.look_at <= now.now) == (len(seen) < 3)
        now = replace(now, decided=decision.decided)
    assert seen == [100, 100, 100]


def test_a_year_of_seconds_is_passed_over_at_once() -> None:
    decision = decide(look(Spec(every=SECOND), after=365 * 24 * HOUR + SECOND // 2))
    assert [row.result for row in decision.rows].count("missed") == 2
    assert sum(row.count for row in decision.rows) == 365 * 24 * 3600


def test_ten_years_of_minutes_are_caught_up_with_by_no_walk_through_all_of_them() -> None:
    spec = Spec(cron="* * * * *", overlap="allow", catch_up="all", window=20 * 365 * 24 * HOUR)
    began = time.process_time()
    decision = decide(look(spec, after=10 * 365 * 24 * HOUR))
    assert counts(decision) == [("started", 1)] * 100
    assert time.process_time() - began < 0.5


# -- clocks that jump


def test_a_clock_that_went_back_fires_nothing_twice() -> None:
    decision = decide(look(after=-HOUR))
    assert (decision.rows, decision.decided, decision.look_at) == ((), BEGIN, BEGIN + 10 * MINUTE)


def test_a_clock_that_went_back_before_a_resume_or_change_fires_nothing_twice_either() -> None:
    for decision in (restart(look(after=-HOUR, paused=True)), restart(look(after=-HOUR), Spec(every=MINUTE))):
        assert (decision.rows, decision.decided) == ((), BEGIN)


def test_a_clock_that_jumped_ahead_is_an_outage() -> None:
    assert counts(decide(look(after=HOUR))) == [("missed", 5), ("started", 1)]


def test_zone_data_that_changed_fires_no_time_of_a_day_twice() -> None:
    spec = Spec(cron="0 2 * * *", timezone="Europe/Berlin")
    fired = to_wire(datetime(2026, 6, 30, 23, tzinfo=UTC), what="a time")
    now = Look(id="s", spec=spec, now=fired + 2 * HOUR, decided=fired, zones="1999a 2026-07-01T02:00:00")
    decision = decide(now)
    assert [(row.slot, row.result, row.reason) for row in decision.rows] == [(fired + HOUR, "missed", MOVED)]
    assert decision.decided == fired + HOUR
    assert decision.look_at == fired + 25 * HOUR
    assert decision.zones == shown(spec, decision.decided)
    assert decide(replace(now, decided=decision.decided, zones=decision.zones)).rows == ()
    resumed = restart(replace(now, now=fired, paused=True))
    assert (resumed.rows, resumed.decided) == ((), fired + HOUR)


# -- overlap


@pytest.mark.parametrize(
    ("overlap", "open", "queued", "rows"),
    [
        ("skip", 0, 0, [("started", 1, "")]),
        ("skip", 1, 0, [("skipped", 1, OPEN)]),
        ("skip", 0, 1, [("started", -1, ""), ("skipped", 1, OPEN)]),
        ("queue", 0, 0, [("started", 1, "")]),
        ("queue", 1, 0, [("queued", 1, "")]),
        ("queue", 1, 2, [("queued", 1, "")]),
        ("queue", 0, 2, [("started", -2, ""), ("queued", 1, "")]),
        ("queue", 1, QUEUED_SLOTS, [("skipped", 1, FULL)]),
        ("queue", 0, QUEUED_SLOTS, [("started", -QUEUED_SLOTS, ""), ("queued", 1, "")]),
        ("cancel_previous", 0, 0, [("started", 1, "")]),
        ("cancel_previous", 1, 0, [("queued", 1, "")]),
        ("cancel_previous", 1, 1, [("skipped", -1, REPLACED), ("queued", 1, "")]),
        ("cancel_previous", 0, 1, [("skipped", -1, REPLACED), ("started", 1, "")]),
        ("allow", 0, 0, [("started", 1, "")]),
        ("allow", 3, 0, [("started", 1, "")]),
        ("allow", 3, 1, [("started", 1, "")]),
        ("allow", 0, 1, [("started", -1, ""), ("started", 1, "")]),
    ],
)
def test_a_slot_meets_what_is_open_and_what_waits(
    overlap: Overlap, open: int, queued: int, rows: list[tuple[str, int, str]]
) -> None:
    decision = decide(look(Spec(every=10 * MINUTE, overlap=overlap), open=open, queued=queued))
    assert told(decision) == rows
    assert decision.cancels == (overlap == "cancel_previous" and open > 0)
    assert all(row.waited == (row.slot < BEGIN) for row in decision.rows)


@pytest.mark.parametrize(
    ("overlap", "open", "results"),
    [
        ("skip", 0, ["started", "skipped", "skipped"]),
        ("skip", 1, ["skipped", "skipped", "skipped"]),
        ("queue", 0, ["started", "queued", "queued"]),
        ("queue", 1, ["queued", "queued", "queued"]),
        ("cancel_previous", 0, ["skipped", "skipped", "started"]),
        ("cancel_previous", 1, ["skipped", "skipped", "queued"]),
        ("allow", 1, ["started", "started", "started"]),
    ],
)
def test_slots_that_are_caught_up_with_meet_each_other_in_order(
    overlap: Overlap, open: int, results: list[str]
) -> None:
    spec = Spec(every=10 * MINUTE, overlap=overlap, catch_up="all")
    assert [row.result for row in decide(look(spec, after=35 * MINUTE, open=open)).rows] == results


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_previous", "allow"])
def test_what_waits_starts_one_at_a_time_when_nothing_is_open(overlap: Overlap) -> None:
    spec = Spec(every=10 * MINUTE, overlap=overlap)
    busy = decide(look(spec, after=MINUTE, open=1, queued=2))
    assert (busy.rows, busy.look_at) == ((), BEGIN + MINUTE + SECOND)
    free = decide(look(spec, after=MINUTE, queued=2))
    assert [(row.result, row.waited) for row in free.rows] == [("started", True)]
    assert free.look_at == BEGIN + MINUTE + SECOND
    assert decide(look(spec, after=MINUTE, queued=1)).look_at == BEGIN + 10 * MINUTE


def test_one_that_took_the_place_of_what_waited_leaves_nothing_to_look_for() -> None:
    decision = decide(look(Spec(every=10 * MINUTE, overlap="cancel_previous"), queued=1))
    assert decision.look_at == BEGIN + 20 * MINUTE


def test_what_waits_is_looked_for_no_later_than_the_next_slot() -> None:
    decision = decide(look(after=10 * MINUTE - SECOND // 2, open=1, queued=1))
    assert decision.look_at == BEGIN + 10 * MINUTE


# -- pause, change, resume


def test_what_is_paused_fires_nothing_and_starts_nothing_that_waits() -> None:
    decision = decide(look(after=2 * HOUR, queued=1, paused=True))
    assert (decision.rows, decision.decided, decision.look_at) == ((), BEGIN, None)


def test_a_resume_fires_nothing_of_the_pause() -> None:
    decision = restart(look(after=2 * HOUR, paused=True))
    assert decision.rows == (Decided("slot", BEGIN + 10 * MINUTE, "missed", PAUSED, BEGIN + 2 * HOUR, 12),)
    assert (decision.decided, decision.look_at) == (BEGIN + 2 * HOUR, BEGIN + 2 * HOUR + 10 * MINUTE)


def test_what_waited_before_a_pause_goes_on_after_it() -> None:
    assert restart(look(after=MINUTE, queued=1, paused=True)).look_at == BEGIN + MINUTE + SECOND


def test_a_change_counts_from_now_by_the_new_spec() -> None:
    decision = restart(look(after=25 * MINUTE), Spec(every=7 * MINUTE, anchor=BEGIN))
    assert told(decision) == [("missed", 1, CHANGED)]
    assert (decision.decided, decision.look_at) == (BEGIN + 25 * MINUTE, BEGIN + 28 * MINUTE)


def test_what_is_changed_while_it_is_paused_stays_so() -> None:
    decision = restart(look(after=25 * MINUTE, paused=True), Spec(every=HOUR), paused=True)
    assert (told(decision), decision.look_at) == ([("missed", 1, PAUSED)], None)


def test_a_change_leaves_the_slot_whose_firing_time_is_to_come() -> None:
    spec = Spec(every=10 * MINUTE, jitter=5 * MINUTE)
    fires = fires_at(spec, "s", BEGIN + 10 * MINUTE)
    decision = restart(look(spec, after=fires - BEGIN - 1))
    assert (decision.rows, decision.look_at) == ((), fires)


def test_a_new_schedule_begins_with_its_next_slot() -> None:
    decision = restart(replace(look(after=0), now=BEGIN + MINUTE, decided=BEGIN + MINUTE))
    assert (decision.rows, decision.look_at) == ((), BEGIN + 10 * MINUTE)


def test_a_schedule_whose_slots_all_lie_behind_it_is_refused() -> None:
    check_begin(Spec(at=BEGIN + 1), BEGIN)
    for spec in (Spec(at=BEGIN), Spec(every=HOUR, end=BEGIN)):
        with pytest.raises(UsageError, match="lie in the past"):
            check_begin(spec, BEGIN)


# -- out of turn


@pytest.mark.parametrize("paused", [False, True])
def test_a_trigger_starts_whatever_is_open_or_paused(paused: bool) -> None:
    now = look(Spec(every=HOUR, overlap="skip"), after=5, open=1, paused=paused)
    assert trigger(now, 0) == Decided("trigger", BEGIN + 5, "started")
    assert trigger(now, BEGIN + 5).slot == BEGIN + 6, "two at once are two slots"


def test_a_backfill_starts_the_slots_of_its_range_that_are_decided_and_have_no_run() -> None:
    taken = {BEGIN - 20 * MINUTE}
    decision = backfill(look(), BEGIN - 30 * MINUTE, BEGIN + HOUR, overlap="allow", taken=taken)
    assert [(row.kind, *one) for row, one in zip(decision.rows, told(decision), strict=True)] == [
        ("backfill", "started", -3, ""),
        ("backfill", "started", -1, ""),
        ("backfill", "started", 0, ""),
    ]
    assert (decision.decided, decision.look_at) == (BEGIN, BEGIN + 10 * MINUTE)


def test_a_backfill_of_what_is_paused_reaches_into_the_pause() -> None:
    now = look(after=25 * MINUTE, paused=True)
    decision = backfill(now, BEGIN, BEGIN + HOUR, overlap="allow", taken=frozenset())
    assert told(decision) == [("started", 0, ""), ("started", 1, ""), ("started", 2, "")]
    assert (decision.decided, decision.look_at) == (BEGIN, None)


def test_a_backfill_has_an_overlap_of_its_own() -> None:
    for overlap, results in [("skip", ["started", "skipped"]), ("queue", ["started", "queued"])]:
        decision = backfill(look(), BEGIN - 10 * MINUTE, BEGIN + 1, overlap=overlap, taken=frozenset())  # type: ignore[arg-type]
        assert [row.result for row in decision.rows] == results


def test_a_backfill_of_what_is_paused_overtakes_nothing_that_waits() -> None:
    now = look(queued=1, paused=True)
    decision = backfill(now, BEGIN, BEGIN + 1, overlap="queue", taken=frozenset())
    assert told(decision) == [("queued", 0, "")]


def test_a_backfill_is_bounded() -> None:
    spec = Spec(every=SECOND)
    most = backfill(look(spec), BEGIN - (SLOTS - 1) * SECOND, BEGIN + 1, overlap="allow", taken=frozenset())
    assert len(most.rows) == SLOTS
    with pytest.raises(UsageError, match="at most 1,000"):
        backfill(look(spec), BEGIN - SLOTS * SECOND, BEGIN + 1, overlap="allow", taken=frozenset())
    with pytest.raises(UsageError, match="behind its start"):
        backfill(look(spec), BEGIN, BEGIN, overlap="allow", taken=frozenset())


def test_a_backfill_walks_through_no_more_than_its_range() -> None:
    spec = Spec(cron="0 0 29 2 *", timezone="Europe/Berlin")
    began = time.process_time()
    assert backfill(look(spec), BEGIN - 365 * 24 * HOUR, BEGIN, overlap="allow", taken=frozenset()).rows == ()
    assert time.process_time() - began < 0.05


def test_the_next_slots_of_what_is_paused_are_told_too() -> None:
    assert next_slots(look(after=25 * MINUTE, paused=True), 2) == [(BEGIN + slot * MINUTE,) * 2 for slot in (30, 40)]


@pytest.mark.parametrize("paused", [False, True])
def test_a_slot_whose_jitter_is_not_over_is_told_as_the_next(paused: bool) -> None:
    spec = Spec(every=10 * MINUTE, jitter=20 * MINUTE)
    slot = BEGIN + 10 * MINUTE
    fires = fires_at(spec, "s", slot)
    assert fires > slot
    for now in (slot - 1, slot, fires - 1):
        assert next_slots(look(spec, after=now - BEGIN, paused=paused), 1) == [(slot, fires)]
    assert next_slots(look(spec, after=fires - BEGIN, paused=paused), 1)[0][0] == slot + 10 * MINUTE


# -- runs


def test_a_slot_is_open_while_any_run_of_it_may_go_on() -> None:
    assert not is_open([])
    assert not is_open(sorted(TERMINAL))
    for state in set(State) - TERMINAL:
        assert is_open([State.FAILED, state, State.COMPLETED])


def test_a_slot_has_one_run_whoever_fires_it() -> None:
    kinds: list[Kind] = ["slot", "trigger", "backfill"]
    ids = {fired_run_id(schedule, kind, BEGIN + slot) for schedule in "ab" for kind in kinds for slot in (0, 1)}
    assert len(ids) == 12
    first = uuid.UUID(fired_run_id("a", "slot", BEGIN))
    assert (first.version, first.variant, first.int >> 80) == (7, uuid.RFC_4122, BEGIN // 1000)
    assert fired_run_id("a", "slot", BEGIN) == str(first)
    assert uuid.UUID(fired_run_id("a", "slot", -5)).int >> 80 == 0
