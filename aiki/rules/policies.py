"""Own what an apply does to the policies of retention that are there. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiki.core.errors import UsageError
from aiki.core.retention import ALL, ENDS, Periods, check
from aiki.core.states import State
from aiki.wire.messages import ApplyRetention, PolicyChange, ReadRetention
from aiki.wire.subjects import is_token

STAYS: Final = "the manifest names it no longer; it stays in force until it is pruned"
GONE: Final = "the manifest names it no longer"


@dataclass(frozen=True, slots=True)
class Known:
    """A policy that is there."""

    project: str
    periods: Periods


def check_request(request: ApplyRetention | ReadRetention) -> None:
    """Raise UsageError if a request about policies cannot be carried out."""
    if isinstance(request, ReadRetention):
        if request.after and not is_token(request.after):
            raise UsageError("`after` is the name of a workflow")
        return
    if not is_token(request.project):
        raise UsageError(f"project name {request.project[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
    for workflow, count in Counter(policy.workflow for policy in request.policies).items():
        if workflow != ALL and not is_token(workflow):
            raise UsageError(f"workflow name {workflow[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 _ -")
        if count > 1:
            raise UsageError(f"how long runs of {workflow!r} are kept is said twice")
    for policy in request.policies:
        check(policy.periods)


def plan(known: Mapping[str, Known], request: ApplyRetention) -> list[PolicyChange]:
    """Return what an apply does to each policy that it or its project names, in the order of workflows."""
    wanted = {policy.workflow: policy.periods for policy in request.policies}
    changes = []
    for workflow in sorted(known.keys() | wanted.keys()):
        old, new = known.get(workflow), wanted.get(workflow)
        if new is not None:
            changes.append(_declared(workflow, old, new, request.project))
        elif request.prune:
            changes.append(PolicyChange(workflow, "delete", reason=GONE))
        else:
            changes.append(PolicyChange(workflow, "unchanged", reason=STAYS))
    return changes


def _declared(workflow: str, old: Known | None, new: Periods, project: str) -> PolicyChange:
    if old is None:
        return PolicyChange(workflow, "create")
    if old.project != project:
        of = f"workflow {workflow!r}" if workflow else "all other workflows"
        return PolicyChange(workflow, "refused", reason=f"the retention of {of} belongs to project {old.project!r}")
    fields = [name for name in ENDS if old.periods.of(State(name)) != new.of(State(name))]
    return PolicyChange(workflow, "update" if fields else "unchanged", fields)
