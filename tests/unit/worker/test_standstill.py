"""How long a loop did not run."""

from __future__ import annotations

from aiki.worker.standstill import LOOK_SECONDS, Standstill


def test_looks_in_time_are_no_standstill() -> None:
    standstill = Standstill(100.0)
    for turn in range(1, 5):
        standstill.look(100.0 + turn * LOOK_SECONDS)
    assert standstill.take() == 0.0


def test_the_longest_standstill_counts_until_it_is_taken() -> None:
    standstill = Standstill(100.0)
    for moment in (104.0 + LOOK_SECONDS, 105.0 + 2 * LOOK_SECONDS):
        standstill.look(moment)
    assert standstill.take() == 4.0
    assert standstill.take() == 0.0
