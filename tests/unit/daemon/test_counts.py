"""Counts of a summary as they are told."""

from aiki.core.states import TERMINAL, State
from aiki.wire.limits import COUNTED_RUNS
from aiki.wire.messages import SummaryRow
from aikid.store.reads import told


def test_live_runs_are_counted_to_the_last_and_ended_ones_up_to_a_limit() -> None:
    more = 10 * COUNTED_RUNS
    for state in State:
        known = SummaryRow("w", "1", state, COUNTED_RUNS, capped=True) if state in TERMINAL else None
        assert told("w", "1", state, more) == (known or SummaryRow("w", "1", state, more))
        assert told("w", "1", state, COUNTED_RUNS) == SummaryRow("w", "1", state, COUNTED_RUNS)
