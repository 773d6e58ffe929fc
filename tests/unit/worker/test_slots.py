"""Slots: what lingers holds none, what resumes comes before new claims, and claims have theirs reserved."""

from collections.abc import Callable
from typing import Any

import pytest

from aiki.worker.slots import LINGERING_PER_SLOT, Slots


class Run:
    """As much of an execution as slots know."""

    def __init__(self) -> None:
        self.slots_given = 0
        self.suspended = False

    def on_slot(self) -> None:
        self.slots_given += 1

    def suspend(self) -> None:
        self.suspended = True


@pytest.fixture
def woken() -> list[int]:
    return []


@pytest.fixture
def make(woken: list[int]) -> Callable[[int], Any]:
    return lambda total: Slots(total, lambda: woken.append(1))


def take(slots: Any, *runs: Run) -> None:
    """Claim runs, and get them."""
    reservation = slots.reserve(len(runs))
    for run in runs:
        assert slots.take(run, reservation)


def test_a_claimed_run_takes_a_slot_until_it_ends(make: Callable[[int], Any], woken: list[int]) -> None:
    slots, run = make(2), Run()
    take(slots, run)
    assert slots.free == 1
    slots.end(run)
    assert slots.free == 2
    assert woken


def test_a_lingering_run_holds_no_slot(make: Callable[[int], Any], woken: list[int]) -> None:
    slots, run = make(1), Run()
    take(slots, run)
    slots.linger(run)
    assert slots.free == 1
    assert woken
    slots.end(run)
    assert slots.free == 1


def test_a_resuming_run_gets_a_free_slot_at_once(make: Callable[[int], Any]) -> None:
    slots, run = make(1), Run()
    take(slots, run)
    slots.linger(run)
    slots.resume(run)
    assert run.slots_given == 1
    assert slots.free == 0


def test_a_resuming_run_comes_before_a_new_claim(make: Callable[[int], Any]) -> None:
    slots, waiter, other = make(1), Run(), Run()
    take(slots, waiter)
    slots.linger(waiter)
    take(slots, other)
    slots.resume(waiter)
    assert waiter.slots_given == 0
    assert slots.free == 0
    slots.end(other)
    assert waiter.slots_given == 1
    assert slots.free == 0, "the slot went to the run that resumes, none is left to claim for"


def test_a_run_that_is_dropped_while_it_waits_for_a_slot_is_forgotten(
    make: Callable[[int], Any], woken: list[int]
) -> None:
    slots, waiter, other = make(2), Run(), Run()
    take(slots, waiter)
    slots.linger(waiter)
    take(slots, other, Run())
    slots.resume(waiter)
    slots.end(other)
    assert waiter.slots_given == 1
    slots.linger(waiter)
    take(slots, other)
    slots.resume(waiter)
    woken.clear()
    slots.end(waiter)
    slots.end(other)
    assert waiter.slots_given == 1
    assert slots.free == 1
    assert woken


@pytest.mark.parametrize("over", [1, 3])
def test_beyond_the_bound_the_oldest_lingering_runs_leave_memory(make: Callable[[int], Any], over: int) -> None:
    """Also while those before them are on their way out."""
    slots = make(1)
    runs = [Run() for _ in range(LINGERING_PER_SLOT + over)]
    for run in runs:
        take(slots, run)
        slots.linger(run)
    assert [run.suspended for run in runs] == [True] * over + [False] * LINGERING_PER_SLOT


# -- reservations


def test_what_is_reserved_for_a_claim_is_nobody_elses(make: Callable[[int], Any]) -> None:
    slots, waiter = make(2), Run()
    take(slots, waiter)
    slots.linger(waiter)
    claim = slots.reserve(2)
    assert slots.free == 0
    slots.resume(waiter)
    assert waiter.slots_given == 0, "it would be one more than there are once the claim is answered"
    assert slots.take(Run(), claim)
    slots.release(claim)
    assert waiter.slots_given == 1
    assert slots.free == 0


def test_a_reservation_that_was_given_up_leaves_a_late_run_what_is_free(make: Callable[[int], Any]) -> None:
    slots = make(2)
    late = slots.reserve(2)
    slots.release(late)
    slots.release(late)
    assert slots.free == 2
    in_time = slots.reserve(1)
    assert slots.take(Run(), late)
    assert not slots.take(Run(), late), "the other slot is the second claim's"
    assert slots.take(Run(), in_time)
    assert slots.free == 0


def test_a_late_run_does_not_take_the_slot_of_one_that_resumes(make: Callable[[int], Any]) -> None:
    slots, waiter, other = make(2), Run(), Run()
    late = slots.reserve(1)
    slots.release(late)
    take(slots, waiter)
    slots.linger(waiter)
    claim = slots.reserve(2)
    slots.resume(waiter)
    assert slots.take(other, claim)
    assert not slots.take(Run(), late)
    slots.release(claim)
    assert waiter.slots_given == 1
