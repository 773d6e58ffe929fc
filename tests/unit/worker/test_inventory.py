"""The inventory of claims: a run is begun here or given back, never both, in whatever order the news of it comes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aiki.wire.messages import Fence
from aiki.worker.inventory import Inventory

RUNS = ["r1", "r2", "r3"]
FENCES = [Fence(run, 1, "claim") for run in RUNS]


@pytest.fixture
def inventory() -> Inventory:
    made = Inventory()
    made.expect("claim")
    return made


def test_a_claim_is_held_until_its_last_run_is_let_go(inventory: Inventory) -> None:
    assert inventory.hold("claim", RUNS) == set()
    for left in (2, 1, 0):
        assert inventory.held() == ["claim"]
        inventory.let_go("claim")
        assert bool(inventory.held()) == bool(left)


def test_a_claim_without_runs_is_not_held(inventory: Inventory) -> None:
    assert inventory.hold("claim", []) == set()
    assert inventory.held() == []


def test_what_came_before_a_renewals_word_is_not_given_back(inventory: Inventory) -> None:
    """The renewal was sent before the claim was held, and its answer names the claim's runs."""
    inventory.hold("claim", RUNS)
    assert inventory.give_back(FENCES) == []


def test_what_was_given_back_is_known_when_its_reply_comes(inventory: Inventory) -> None:
    assert inventory.give_back(FENCES[:2]) == FENCES[:2]
    assert inventory.hold("claim", RUNS) == {"r1", "r2"}


def test_what_nobody_waits_for_is_given_back_and_not_remembered(inventory: Inventory) -> None:
    inventory.forget("claim")
    assert inventory.give_back(FENCES) == FENCES
    assert inventory._given_back == {}


def test_what_is_remembered_is_forgotten_with_the_wait_for_its_claim(inventory: Inventory) -> None:
    inventory.give_back(FENCES)
    inventory.forget("claim")
    assert inventory._given_back == {}


def test_each_run_is_begun_or_given_back_whatever_thread_comes_first() -> None:
    with ThreadPoolExecutor(1) as lease_thread:
        for _ in range(200):
            begun, given = race(lease_thread)
            assert begun.isdisjoint(given)
            assert begun | given == set(RUNS)


def race(lease_thread: ThreadPoolExecutor) -> tuple[set[str], set[str]]:
    """Take in a reply and give back its runs at the same time; return what was begun and what was given back."""
    inventory, start = Inventory(), threading.Barrier(2)
    inventory.expect("claim")

    def give_back() -> set[str]:
        start.wait()
        return {fence.run_id for fence in inventory.give_back(FENCES)}

    given = lease_thread.submit(give_back)
    start.wait()
    return set(RUNS) - inventory.hold("claim", RUNS), given.result()
