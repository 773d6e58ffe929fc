"""The check of families finds what is planted, and nothing in a good story."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.kin import Kin, violations
from tests.chaos.ledger import Effect
from tests.chaos.promises import Evidence, JournalRow, RunRow

PARENT, CHILD, RETRY = "p", "c", "r"
CHARGE = "task:charge:digest:1"
GOOD = Evidence(
    runs=[
        RunRow(PARENT, "ordered", "failed", None, None, None, PARENT),
        RunRow(CHILD, "payment", "completed", None, None, PARENT, CHILD),
        RunRow(RETRY, "ordered", "completed", None, None, None, PARENT),
    ],
    history=[],
    journal=[JournalRow(CHILD, CHARGE, None, 20)],
    effects=[Effect(10, "start", CHILD, CHARGE, 1, "w1"), Effect(11, "charge", CHILD, "key", 1, "w1", "order-1")],
    kin=[Kin(PARENT, CHILD, CHILD, True, 0), Kin(RETRY, CHILD, CHILD, True, 1)],
)


def test_a_good_story_of_a_family_holds() -> None:
    assert list(violations(GOOD)) == []


@pytest.mark.parametrize(
    ("said", "planted"),
    [
        ("was started by", {"kin": []}),
        ("does not exist", {"runs": [GOOD.runs[0], GOOD.runs[2]]}),
        ("never heard", {"kin": [GOOD.kin[0], replace(GOOD.kin[1], told=0)]}),
        ("2 keys", {"effects": [*GOOD.effects, Effect(12, "charge", RETRY, "other", 1, "w1", "order-1")]}),
        ("began again", {"effects": [*GOOD.effects, Effect(30, "start", CHILD, CHARGE, 1, "w2")]}),
    ],
)
def test_a_planted_violation_of_a_family_is_found(said: str, planted: dict[str, Any]) -> None:
    found = list(violations(replace(GOOD, **planted)))
    assert found
    assert all(said in line for line in found), found
