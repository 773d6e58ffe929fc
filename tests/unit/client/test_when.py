"""When a schedule fires, as people say it: read once, told back the same, and refused where nothing would fire so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aiki import UsageError, When
from aiki.client.when import WORDS, changed, from_spec, next_firings
from aiki.core.moments import to_wire
from aiki.wire.messages import Spec

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
EAST = NOON.astimezone(timezone(timedelta(hours=5)))


def test_what_is_said_is_told_back_in_utc() -> None:
    said = changed(Spec(), {"every": "15m", "anchor": EAST, "jitter": "30s", "overlap": "queue", "window": "2h"})
    assert from_spec(said) == When(
        every=timedelta(minutes=15),
        anchor=NOON,
        jitter=timedelta(seconds=30),
        overlap="queue",
        window=timedelta(hours=2),
    )


TIMES = st.integers(0, to_wire(datetime(9000, 1, 1, tzinfo=UTC), what="the last"))
LENGTHS = st.integers(0, 10**15)
KINDS = st.one_of(
    st.fixed_dictionaries({"cron": st.sampled_from(["0 2 * * *", "@daily"]), "timezone": st.just("Europe/Berlin")}),
    st.fixed_dictionaries({"every": st.integers(10**6, 10**12), "anchor": TIMES}),
    st.fixed_dictionaries({"at": TIMES}),
)
OTHERS = st.fixed_dictionaries(
    {"jitter": LENGTHS, "window": LENGTHS},
    optional={"overlap": st.sampled_from(["queue", "allow"]), "catch_up": st.sampled_from(["none", "all"])},
)


@drawn(KINDS, OTHERS)
def test_what_is_told_and_said_again_is_the_same_to_the_microsecond(
    kind: dict[str, Any], others: dict[str, Any]
) -> None:
    spec = Spec(**kind, **others)
    when = from_spec(spec)
    assert changed(Spec(), {word: getattr(when, word) for word in WORDS}) == spec


def test_what_is_not_said_stays_and_none_is_the_default() -> None:
    before = changed(Spec(), {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "end": NOON, "jitter": "1m"})
    since = from_spec(changed(before, {"cron": "0 3 * * *", "end": None, "jitter": None}))
    assert since == When(cron="0 3 * * *", timezone="Europe/Berlin")


def test_one_that_fires_by_something_else_keeps_nothing_of_what_it_fired_by() -> None:
    by_cron = changed(Spec(), {"cron": "0 2 * * *", "timezone": "Europe/Berlin"})
    by_interval = changed(by_cron, {"every": "1h", "anchor": NOON})
    once = changed(by_interval, {"at": NOON})
    assert from_spec(by_interval) == When(every=timedelta(hours=1), anchor=NOON)
    assert (once.cron, once.every, once.at, once.anchor) == (None, None, 1_780_315_200_000_000, 0)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "by one of cron, every and at"),
        ({"cron": "0 2 * * *", "every": "15m"}, "by one of cron, every and at"),
        ({"cron": 2}, "cron=2: it must be text"),
        ({"cron": "61 * * * *"}, "'61' is no minute"),
        ({"cron": "0 2 * * *", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"cron": "0 2 * * *", "timezone": None, "overlap": "replace"}, "one of skip, queue, cancel_previous, allow"),
        ({"cron": "0 2 * * *", "catch_up": True}, "one of none, latest, all"),
        ({"every": 15}, "15 is not a duration"),
        ({"at": datetime(2026, 1, 1)}, "at needs a datetime with a time zone"),  # noqa: DTZ001 - the mistake
        ({"every": "15m", "colour": "red"}, "no colour="),
        ({"every": "15m", "timezone": "Europe/Berlin"}, "a timezone is for a cron"),
        ({"cron": "@daily", "anchor": NOON}, "an anchor is for every"),
        ({"every": "0s"}, "every is at least a second"),
        ({"every": "15m", "start": NOON, "end": NOON}, "the end of a schedule lies behind its start"),
    ],
)
def test_what_fires_nothing_is_refused_in_words(given: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        changed(Spec(), given)


def test_the_next_firings_of_what_is_said_need_nobody() -> None:
    berlin = next_firings(2, after=datetime(2026, 10, 24, tzinfo=UTC), cron="0 2 * * *", timezone="Europe/Berlin")
    assert berlin == [datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 26, 1, tzinfo=UTC)]
    assert next_firings(3, after=NOON, at=NOON) == []
    with pytest.raises(UsageError, match="from 1 to 1,000"):
        next_firings(0, every="1h")
