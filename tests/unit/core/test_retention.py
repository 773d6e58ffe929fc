"""How periods are written, refused, told, and joined."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aiki.core.duration import MICROSECONDS
from aiki.core.errors import UsageError
from aiki.core.retention import FOR_EVER, NOTHING, Periods, joined, read, words

DAY = MICROSECONDS["d"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("30d", Periods(30 * DAY, 30 * DAY, 30 * DAY)),
        (timedelta(days=1), Periods(DAY, DAY, DAY)),
        ("keep", Periods(FOR_EVER, FOR_EVER, FOR_EVER)),
        ("completed=30d", Periods(30 * DAY)),
        ("completed=1d, failed=keep", Periods(DAY, FOR_EVER)),
        ({"cancelled": "1d"}, Periods(None, None, DAY)),
        ({"completed": timedelta(minutes=1)}, Periods(60_000_000)),
        ({}, NOTHING),
    ],
)
def test_periods_are_read_as_they_are_written(given: Any, expected: Periods) -> None:
    assert read(given) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0s", "keeps nothing"),
        ("59s", "less than a minute"),
        ("completed=59s", "completed runs are to be kept for less than a minute"),
        (timedelta(seconds=-1), "not a usable duration"),
        ("-1d", "is not a duration"),
        ("thirty days", "is not a duration"),
        (30, "is not a duration"),
        ("400000d", "not a usable duration"),
        ({"complete": "1d"}, "did you mean 'completed'"),
        ({"running": "1d"}, "do not end as 'running'"),
        ("completed=1d,completed=2d", "stands there twice"),
        ("completed=1d,2d", "'2d' says no period"),
        ("", "is not a duration"),
        ("completed=", "is not a duration"),
    ],
)
def test_what_makes_no_sense_is_refused_with_words(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(given)


@pytest.mark.parametrize("text", ["30d", "keep", "1d12h", "completed=30d,failed=keep", "failed=1h30m,cancelled=90d"])
def test_periods_are_told_as_they_are_written(text: str) -> None:
    assert words(read(text)) == text


def test_who_says_nothing_of_any_end_keeps_all() -> None:
    assert words(NOTHING) == "keep"


def test_of_each_end_the_first_counts_that_says_anything() -> None:
    assert joined([read("completed=1d"), read("completed=2d,failed=keep"), read("3d")]) == Periods(
        DAY, FOR_EVER, 3 * DAY
    )
