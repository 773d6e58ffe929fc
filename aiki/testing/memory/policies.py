"""Own what the engine in memory does with what projects say of retention: it is kept and told, and no run ever goes."""

from __future__ import annotations

from collections.abc import Mapping

from aiki.core.retention import ALL, NOTHING, Periods, joined
from aiki.rules.policies import Known, check_request, plan
from aiki.testing.memory.store import Store
from aiki.wire.limits import LIST_ITEMS
from aiki.wire.messages import ApplyRetention, PolicyInfo, ReadRetention, RetentionApplied, RetentionReply, Route


def apply(store: Store, request: ApplyRetention) -> RetentionApplied:
    """Have a project's policies be just these, or say what that would do. Raises UsageError for what can't be."""
    check_request(request)
    wanted = {policy.workflow: policy.periods for policy in request.policies}
    mine = {name: known for name, known in store.policies.items() if name in wanted or known.project == request.project}
    changes = plan(mine, request)
    is_done = not request.dry_run and all(change.action != "refused" for change in changes)
    for change in changes if is_done else ():
        if change.action == "delete":
            del store.policies[change.workflow]
        elif change.action in ("create", "update"):
            store.policies[change.workflow] = Known(request.project, wanted[change.workflow])
    return RetentionApplied(changes, is_done)


def read(store: Store, request: ReadRetention) -> RetentionReply:
    """Return the policies in force."""
    check_request(request)
    behind = sorted(name for name in store.policies if request.after is None or name > request.after)
    found = [PolicyInfo(name, store.policies[name].project, store.policies[name].periods) for name in behind]
    return RetentionReply(found[:LIST_ITEMS], NOTHING, 0, more=len(found) > LIST_ITEMS)


def in_force(policies: Mapping[str, Known], route: Route) -> Periods:
    """Return how long runs of a route would be kept."""
    said = [policies[name].periods if name in policies else NOTHING for name in (route.workflow, ALL)]
    return joined((said[0], route.retention, said[1]))
