"""How long a loop did not run."""

from __future__ import annotations

import pytest

from aiki.worker.standstill import LOOK_SECONDS, Stall, Standstill
from tests.clocks import HOUR, sleep_machine


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


def test_a_loop_stalls_while_another_sees_it_stand() -> None:
    stall = Stall()
    stall.beat()
    assert [stall.look() for _ in range(3)] == [0.0, LOOK_SECONDS, 2 * LOOK_SECONDS]
    stall.beat()
    assert stall.look() == 0.0


def test_a_machine_that_slept_for_hours_has_no_loop_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loops go on at once, and the one that looks may be the first to."""
    stall = Stall()
    stall.beat()
    stall.look()
    sleep_machine(monkeypatch, 2 * HOUR)
    assert stall.look() == LOOK_SECONDS
