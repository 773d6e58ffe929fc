"""The check of events itself: each kind of violation, planted, must be found."""

from __future__ import annotations

import pytest

from tests.chaos.heard import Accepted, regrets, violations
from tests.chaos.ledger import Effect

RUN = "r1"
SENT = [Accepted(RUN, "a", 0, 1), Accepted(RUN, "b", 2, 3), Accepted(RUN, "c", 2, 3)]
"""b after a; c at the same time as b."""


def took(*keys: str) -> list[Effect]:
    return [Effect(at, "start", RUN, f"task:hear@{key}", 1, "w1") for at, key in enumerate(keys)]


@pytest.mark.parametrize(
    "keys",
    [
        ("0:a", "1:b", "2:c"),
        ("0:a", "1:c", "2:b"),
        # A worker died inside the task, which another repeats; and one that nobody was told of.
        ("0:a", "1:b", "1:b", "2:unanswered", "3:c"),
    ],
)
def test_what_is_taken_once_in_an_order_that_may_have_been_holds(keys: tuple[str, ...]) -> None:
    assert list(violations(took(*keys), SENT)) == []


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("0:a", "1:b"), "c was accepted, and never taken"),
        (("0:a", "1:b", "2:c", "3:a"), "a was taken 2 times"),
        (("0:a", "1:b", "1:c"), "2 events were taken as number 1"),
        (("0:b", "1:a", "2:c"), "b was taken before a"),
    ],
)
def test_a_planted_violation_is_found(keys: tuple[str, ...], told: str) -> None:
    (found,) = violations(took(*keys), SENT)
    assert told in found


def test_what_a_run_that_was_told_to_end_has_not_undone_is_found() -> None:
    did = Effect(1, "start", RUN, "task:do:0:1", 1, "w1")
    undone = Effect(2, "end", RUN, "task:undo:0:1", 1, "w2")
    assert list(regrets([did, undone], [RUN])) == []
    assert list(regrets([], [RUN])) == [], "it has done nothing"
    (found,) = regrets([did], [RUN])
    assert "without having undone" in found
