"""What a test is told of a run that rests, and what to type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.duration import to_microseconds
from aiki.core.states import State
from aiki.testing.resting import remedy, span, waits_for
from aiki.wire.messages import RunStatus

DUE = 1_767_225_600_000_000


def run(state: State, **members) -> RunStatus:
    return RunStatus("id", "pay-expense", "2", state, 0, **members)


@given(st.integers(0, 10**15))
def test_a_span_is_read_as_what_it_was_rounded_up_to_a_millisecond(microseconds: int) -> None:
    assert 0 <= to_microseconds(span(microseconds)) - microseconds < 1000


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "0s"), (1, "1ms"), (90_000_000, "1m30s"), (14 * 86_400_000_000, "14d"), (3_600_000_000 + 5_000, "1h5ms")],
)
def test_a_span_is_short(microseconds: int, text: str) -> None:
    assert span(microseconds) == text


@pytest.mark.parametrize(
    ("status", "words", "typed"),
    [
        (run(State.SLEEPING, due_at=DUE), "sleeps until 2026-01-01 00:00:00+00:00", 'await env.advance("1m")'),
        (run(State.SCHEDULED, due_at=DUE), "begins at 2026-01-01 00:00:00+00:00", 'await env.advance("1m")'),
        (
            run(State.RETRYING, due_at=DUE, why="its worker lost its lease"),
            "is to be tried again at 2026-01-01 00:00:00+00:00 (its worker lost its lease)",
            'await env.advance("1m")',
        ),
        (
            run(State.WAITING, waits=["event:paid-up", "event:no"]),
            "waits for event 'paid-up' or 'no'",
            "await handle.send(paid_up, ...)",
        ),
        (
            run(State.WAITING, waits=["event:paid-up"], due_at=DUE),
            "waits for event 'paid-up' until 2026-01-01 00:00:00+00:00",
            'await handle.send(paid_up, ...), or await env.advance("1m")',
        ),
        (run(State.WAITING, waits=["child"]), "waits for a child", 'await env.advance("2m")'),
        (
            run(State.RUNNING),
            "runs a task that takes its time by the test's clock",
            'await env.advance("2m")',
        ),
        (
            run(State.QUEUED),
            "is queued, and no workflow 'pay-expense' version '2' is known here to run it",
            "TestEnv(workflows=[pay_expense, ...])",
        ),
    ],
)
def test_each_rest_has_its_words_and_its_remedy(status: RunStatus, words: str, typed: str) -> None:
    now = DUE - 60_000_000
    assert waits_for(status) == words
    assert remedy(status, now, due_at=DUE + 60_000_000) == typed


def test_who_is_woken_by_nothing_is_told_so() -> None:
    assert remedy(run(State.WAITING), 0, due_at=None).startswith("nothing here wakes it")
