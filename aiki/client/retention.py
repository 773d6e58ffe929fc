"""Own a client's say in how long ended runs are kept: what a project applies, and what is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiki.client.applying import Change, Plan, conflict
from aiki.client.wire import Wire
from aiki.core.errors import UsageError
from aiki.core.retention import ALL, Periods, Retention, read, words
from aiki.wire.messages import ApplyRetention, Policy, ReadRetention

REST = "*"
"""Stands for all workflows that nobody names."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long ended runs of a workflow are kept, as a project says; of `*`, all that none names."""

    workflow: str
    project: str | None
    """None: the daemon's own word, for all else."""
    retention: str
    """As one writes it: "30d", "completed=30d,failed=keep", or "keep"."""


class RetentionPolicies:
    """How long ended runs are kept in the client's namespace. A workflow's own word is in `client.workflows`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def apply(
        self,
        project: str,
        declared: Mapping[str, Retention | Periods],
        /,
        *,
        prune: bool = False,
        dry_run: bool = False,
    ) -> Plan:
        """Have the policies of a project be just these, by workflow, `*` for all that none names; in one commit.

        What the project has and does not declare stays in force, or is deleted with `prune`. With `dry_run` nothing is
        done. Raises Conflict if a workflow is another project's, UsageError for what is no period.
        """
        policies = [Policy(_stored(name), _read(name, given)) for name, given in declared.items()]
        reply = await self._wire.call(ApplyRetention(project, policies, prune=prune, dry_run=dry_run))
        changes = tuple(
            Change(one.workflow or REST, one.action, tuple(one.fields), one.reason, kind="retention")
            for one in reply.changes
        )
        plan = Plan(project, changes, reply.is_done)
        if not dry_run and (refused := plan.having("refused")):
            raise conflict(refused)
        return plan

    async def list(self) -> Sequence[RetentionPolicy]:
        """Return what projects say, by workflow, and last what the daemon does with all else."""
        found: list[RetentionPolicy] = []
        after: str | None = None
        while True:
            reply = await self._wire.call(ReadRetention(after))
            found += [RetentionPolicy(one.workflow or REST, one.project, words(one.periods)) for one in reply.policies]
            if not reply.more:
                return [*found, RetentionPolicy(REST, None, words(reply.rest))]
            after = reply.policies[-1].workflow


def _stored(name: str) -> str:
    return ALL if name == REST else name


def _read(name: str, given: Retention | Periods) -> Periods:
    try:
        return given if isinstance(given, Periods) else read(given)
    except UsageError as error:
        raise UsageError(f"retention of {name!r}: {error.message}", hint=error.hint) from None
