"""Counts of a summary as they are told, and which of them need not be made again."""

from aiki.core.states import State
from aiki.wire.limits import COUNTED_RUNS
from aiki.wire.messages import SummaryRow
from aikid.engine.summary import Capped
from aikid.store.summary import told


def test_runs_are_counted_up_to_a_limit() -> None:
    for state in State:
        capped = SummaryRow("w", "1", state, COUNTED_RUNS, capped=True)
        assert told("w", "1", state, 10 * COUNTED_RUNS) == told("w", "1", state, COUNTED_RUNS + 1) == capped
        assert told("w", "1", state, COUNTED_RUNS) == SummaryRow("w", "1", state, COUNTED_RUNS)


def test_a_count_of_ended_runs_that_was_capped_stands_for_a_minute() -> None:
    now = 0.0
    capped = Capped(clock=lambda: now)
    capped.note("n", [told("w", "1", state, COUNTED_RUNS + 1) for state in (State.COMPLETED, State.QUEUED)])
    capped.note("n", [told("w", "1", State.FAILED, COUNTED_RUNS)])
    now = 59.0
    assert capped.known("n", [("w", "1"), ("v", "1")]) == {("w", "1", State.COMPLETED)}
    assert capped.known("other", [("w", "1")]) == set()
    now = 60.0
    assert capped.known("n", [("w", "1")]) == set()


def test_what_is_remembered_of_counts_is_bounded() -> None:
    capped = Capped(clock=lambda: 0.0)
    for n in range(25_000):
        capped.note("n", [told(f"w{n}", "1", State.COMPLETED, COUNTED_RUNS + 1)])
    assert len(capped) <= 10_001
    assert capped.known("n", [("w24999", "1")])
