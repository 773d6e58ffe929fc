"""What a test is told of a run that rests, and what to type."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.duration import to_microseconds
from aiki.core.reasons import Kind, Reason
from aiki.core.states import State
from aiki.testing.resting import remedy, span, waits_for
from aiki.wire.messages import Explained, RunStatus

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


def of(*reasons: Reason, path: Sequence[str] = (), leaf: Sequence[Reason] = ()) -> Explained:
    return Explained("id", "pay-expense", "2", State.WAITING, 1, [*reasons], [*path], [*leaf])


NOW = DUE - 60_000_000
SLEEPING = Reason(kind=Kind.SLEEPING, until=DUE)
EVENT = Reason(kind=Kind.EVENT, names=["paid-up", "no"])


@pytest.mark.parametrize(
    ("status", "why", "words", "typed"),
    [
        (
            run(State.SLEEPING, due_at=DUE),
            of(SLEEPING),
            "sleeps until 2026-01-01 00:00:00 UTC (in 1m 0s)",
            'await env.advance("1m")',
        ),
        (
            run(State.WAITING, waits=["event:paid-up", "event:no"]),
            of(EVENT),
            "waits for event 'paid-up' or 'no'",
            "await handle.send(paid_up, ...)",
        ),
        (
            run(State.WAITING, waits=["event:paid-up"], due_at=DUE),
            of(EVENT),
            "waits for event 'paid-up' or 'no'",
            'await handle.send(paid_up, ...), or await env.advance("1m")',
        ),
        (
            run(State.RUNNING),
            of(Reason(kind=Kind.RUNNING)),
            "runs a task that takes its time by the test's clock",
            'await env.advance("2m")',
        ),
        (
            run(State.QUEUED),
            of(Reason(kind=Kind.UNSERVED)),
            "is queued, and no workflow 'pay-expense' version '2' is known here to run it",
            "TestEnv(workflows=[pay_expense, ...])",
        ),
    ],
)
def test_each_rest_has_its_words_and_its_remedy(status: RunStatus, why: Explained, words: str, typed: str) -> None:
    assert waits_for(status, why, status, NOW) == words
    assert remedy(status, NOW, due_at=DUE + 60_000_000) == typed


def test_who_waits_for_a_child_is_told_what_that_waits_for() -> None:
    child = RunStatus("child", "naps", "1", State.SLEEPING, 0, due_at=DUE)
    waits = Reason(kind=Kind.CHILD, run="child", workflow="naps", state="sleeping", total=1)
    why = of(waits, path=["id", "child"], leaf=[SLEEPING])
    said = waits_for(run(State.WAITING, waits=["child"]), why, child, NOW)
    assert said == "waits for child child of naps (sleeping), which sleeps until 2026-01-01 00:00:00 UTC (in 1m 0s)"


def test_who_is_woken_by_nothing_is_told_so() -> None:
    assert remedy(run(State.WAITING), 0, due_at=None).startswith("nothing here wakes it")
