"""What an apply does to the policies that are there: each case, and what is refused before."""

from __future__ import annotations

import pytest

from aiki.core.errors import UsageError
from aiki.core.retention import Periods
from aiki.rules.policies import GONE, STAYS, Known, check_request, plan
from aiki.wire.messages import ApplyRetention, Policy, PolicyChange

DAY, OTHER = Periods(86_400_000_000), Periods(86_400_000_000, failed=0)


@pytest.mark.parametrize("prune", [False, True])
def test_a_plan_says_what_becomes_of_each_workflow_in_order(prune: bool) -> None:
    known = {"same": Known("shop", DAY), "less": Known("shop", OTHER), "past": Known("shop", DAY)}
    wanted = [Policy("same", DAY), Policy("less", DAY), Policy("", DAY)]
    vanished = PolicyChange("past", "delete", reason=GONE) if prune else PolicyChange("past", "unchanged", reason=STAYS)
    assert plan(known, ApplyRetention("shop", wanted, prune=prune)) == [
        PolicyChange("", "create"),
        PolicyChange("less", "update", ["failed"]),
        vanished,
        PolicyChange("same", "unchanged"),
    ]


@pytest.mark.parametrize(("workflow", "of"), [("w", "workflow 'w'"), ("", "all other workflows")])
def test_what_is_another_projects_is_refused(workflow: str, of: str) -> None:
    (change,) = plan({workflow: Known("bank", DAY)}, ApplyRetention("shop", [Policy(workflow, DAY)]))
    assert (change.action, change.reason) == ("refused", f"the retention of {of} belongs to project 'bank'")


@pytest.mark.parametrize(
    "request_",
    [
        ApplyRetention("a b", []),
        ApplyRetention("", []),
        ApplyRetention("shop", [Policy("a b", DAY)]),
        ApplyRetention("shop", [Policy("\0", DAY)]),
        ApplyRetention("shop", [Policy("w", DAY), Policy("w", DAY)]),
        ApplyRetention("shop", [Policy("w", Periods(completed=59_999_999))]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(request_: ApplyRetention) -> None:
    with pytest.raises(UsageError):
        check_request(request_)
