"""Retry: every strategy's delays, when it gives up, and which errors it retries."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.errors import Fatal, RetryAfter, UsageError
from aiki.core.retry import DEFAULT_RETRY, Retry


def delays(retry, *, random=0.5, attempts=8):
    return [retry.next_delay(attempt, elapsed=0.0, random=lambda: random) for attempt in range(1, attempts + 1)]


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry.fixed(3, "2s"), [2.0, 2.0, None, None]),
        (Retry.exponential(5, "1s", "5s"), [1.0, 2.0, 4.0, 5.0, None]),
        (Retry.jittered(5, "1s", "5s"), [0.5, 1.0, 2.0, 2.5, None]),
        (Retry.linear(5, "1s", "3s"), [1.0, 2.0, 3.0, 3.0, None]),
        (Retry.from_delays(["1s", timedelta(seconds=5), "100ms"]), [1.0, 5.0, 0.1, None]),
        (Retry.from_delays([]), [None]),
        (Retry.none(), [None]),
        (Retry.fixed(1, "1s"), [None]),
        (Retry.fixed(2, "0s"), [0.0, None]),
    ],
)
def test_each_strategy_has_its_delays(retry, expected):
    assert delays(retry, attempts=len(expected)) == expected


def test_a_task_without_retry_has_three_jittered_attempts():
    assert delays(DEFAULT_RETRY, random=0.25, attempts=3) == [0.25, 0.5, None]


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_delays_stay_in_their_bounds_however_many_attempts(attempt, random):
    for retry in (Retry.exponential(20_000, "1s"), Retry.jittered(20_000, "1s"), Retry.linear(20_000, "1s")):
        delay = retry.next_delay(attempt, elapsed=0.0, random=lambda: random)
        assert delay is not None
        assert 0 <= delay <= 3600


def test_it_gives_up_when_the_next_start_would_be_too_late():
    retry = Retry.fixed(10, "5s", max_elapsed="12s")
    assert [retry.next_delay(1, elapsed=elapsed, random=lambda: 0.0) for elapsed in (0.0, 7.0, 7.1, 20.0)] == [
        5.0,
        5.0,
        None,
        None,
    ]


def test_attempts_are_counted_from_one():
    with pytest.raises(ValueError, match="from 1"):
        Retry.none().next_delay(0, elapsed=0.0, random=lambda: 0.0)


def test_fatal_and_never_on_are_final_and_only_on_is_a_choice():
    anything = Retry.fixed(3, "1s")
    assert anything.retries(ValueError())
    assert not anything.retries(Fatal())
    assert not Retry.fixed(3, "1s", never_on=KeyError).retries(KeyError())
    assert Retry.fixed(3, "1s", never_on=(KeyError, OSError)).retries(ValueError())
    some = Retry.jittered(3, "1s", only_on=(OSError,), never_on=(PermissionError,))
    assert some.retries(ConnectionError())
    assert not some.retries(PermissionError())
    assert not some.retries(ValueError())
    assert some.retries(RetryAfter("1s"))


@pytest.mark.parametrize(
    ("make", "args", "options"),
    [
        (Retry.fixed, (0, "1s"), {}),
        (Retry.fixed, (True, "1s"), {}),
        (Retry.fixed, (2.0, "1s"), {}),
        (Retry.fixed, (2, 5), {}),
        (Retry.exponential, (2, "2h"), {}),
        (Retry.from_delays, ("1s",), {}),
        (Retry.fixed, (2, "1s"), {"only_on": ValueError()}),
        (Retry.fixed, (2, "1s"), {"never_on": ("x",)}),
        (Retry.fixed, (2, "1s"), {"max_elapsed": 3}),
    ],
)
def test_values_that_make_no_sense_are_refused(make, args, options):
    with pytest.raises(UsageError):
        make(*args, **options)
