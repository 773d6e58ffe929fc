"""Durations: what is taken, what is refused, and that no microsecond is lost."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.duration import LONGEST, to_microseconds, to_seconds
from aiki.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("250ms", 250_000),
        ("20s", 20_000_000),
        ("10m", 600_000_000),
        ("1h30m", 5_400_000_000),
        ("30d", 2_592_000_000_000),
        ("1w", 604_800_000_000),
        ("7us", 7),
        ("1.5h", 5_400_000_000),
        ("0.1s", 100_000),
        ("0s", 0),
        ("1d1h1m1s1ms1us", 90_061_001_001),
    ],
)
def test_text_is_read_exactly(text, microseconds):
    assert to_microseconds(text) == microseconds
    assert to_seconds(text) == microseconds / 1e6


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365_000)))
def test_a_timedelta_is_taken_to_the_microsecond(value):
    assert timedelta(microseconds=to_microseconds(value)) == value


@given(st.integers(0, 10**12))
def test_whole_microseconds_survive_as_text(value):
    assert to_microseconds(f"{value}us") == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "20",
        "s",
        "20 s",
        " 20s",
        "20s ",
        "-1s",
        "1h-30m",
        "1e3s",
        "1.s",
        "٣s",
        "20S",
        "20sec",
        "1h30",
        20,
        1.5,
        10**12,
        math.inf,
        math.nan,
        "inf",
        "nan",
        "1e12s",
        None,
    ],
)
def test_what_is_no_duration_is_refused_with_the_forms(value):
    with pytest.raises(UsageError, match=r"is not a duration.*1h30m"):
        to_microseconds(value)


@pytest.mark.parametrize(
    ("value", "hint", "command"),
    [
        (20, '"20s", or timedelta(seconds=20)', "20s"),
        ("1.5", '"1.5s", or timedelta(seconds=1.5)', "1.5s"),
        ("soon", '"1h30m", or timedelta(hours=1.5)', "1h30m"),
    ],
)
def test_the_hint_is_code_for_programs_and_a_word_for_the_command_line(value, hint, command):
    with pytest.raises(UsageError) as refused:
        to_microseconds(value)
    assert (refused.value.hint, refused.value.command) == (hint, command)


@pytest.mark.parametrize("value", [10**400, 10**5000, "9" * 5000, "9" * 5000 + "s"], ids=["long", "longer", "n", "s"])
def test_a_number_of_any_length_is_refused_in_few_words(value):
    with pytest.raises(UsageError, match="is not a duration") as refused:
        to_microseconds(value)
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("value", [timedelta(seconds=-1), timedelta.max, "99999999999d", f"{LONGEST + 1}us"])
def test_what_no_database_holds_is_refused(value):
    with pytest.raises(UsageError, match="365000 days"):
        to_microseconds(value)
