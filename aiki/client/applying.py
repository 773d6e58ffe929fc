"""Own what an apply does to what a project owns: the plan, and the request for its schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from aiki.client.control import person
from aiki.client.wire import Wire
from aiki.core.errors import Conflict
from aiki.wire.messages import ApplySchedules, NewSchedule

Action: TypeAlias = Literal["create", "update", "unchanged", "pause", "delete", "refused"]


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one schedule, or of how long runs of one workflow are kept."""

    name: str
    action: Action
    fields: tuple[str, ...] = ()
    """What an update changes, by the names in a manifest."""
    reason: str = ""
    """Why it is paused, deleted, refused, or goes on."""
    kind: Literal["schedule", "retention"] = "schedule"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply changes, in the order of names."""

    project: str
    changes: tuple[Change, ...]
    is_done: bool
    """Whether it was carried out."""

    @property
    def pending(self) -> list[Change]:
        """What is not as it was, or would not be."""
        return [change for change in self.changes if change.action != "unchanged"]

    def having(self, *actions: Action) -> list[Change]:
        """Return the changes of these kinds."""
        return [change for change in self.changes if change.action in actions]


async def apply(
    wire: Wire, project: str, schedules: Sequence[NewSchedule], *, prune: bool, dry_run: bool, actor: str | None
) -> Plan:
    """Have the project's schedules be these. Raises Conflict, with nothing done, if one is somebody else's."""
    request = ApplySchedules(project, list(schedules), prune=prune, dry_run=dry_run, actor=actor or person())
    reply = await wire.call(request)
    changes = tuple(Change(one.name, one.action, tuple(one.fields), one.reason) for one in reply.changes)
    plan = Plan(project, changes, reply.is_done)
    if not dry_run and (refused := plan.having("refused")):
        raise conflict(refused)
    return plan


def conflict(refused: Sequence[Change]) -> Conflict:
    """Return the error for schedules that belong to others, one of which it names."""
    error = Conflict(f"{refused[0].reason}; nothing was applied", hint="give it another name, or delete the other one")
    for change in refused[1:]:
        error.add_note(change.reason)
    return error
