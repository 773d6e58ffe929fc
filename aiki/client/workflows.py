"""Own a client's reading of registered workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiki.client.matching import RunCount
from aiki.client.wire import Wire
from aiki.core.moments import to_datetime
from aiki.core.retention import KEEP, words
from aiki.core.states import State
from aiki.definitions import stored
from aiki.wire.messages import Route, RouteStanding, Workflows


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow's version that workers have registered. `parameters` is the JSON Schema of its payload."""

    name: str
    version: str
    parameters: Any
    tasks: list[str]
    live: bool
    """Whether a live worker serves it now."""
    events: dict[str, Any] | None = None
    """The JSON Schemas of the events that its runs take, by name; None if they take any."""
    runs: Mapping[State, RunCount] = field(default_factory=dict)
    """Its runs in flight, by their states; each is counted to 10,000."""
    workers: int = 0
    """How many live workers serve it."""
    worker_names: Sequence[str] = ()
    """The first of these, at most five."""
    has_schedule: bool = False
    """Whether a schedule starts runs of it."""
    is_registered: bool = True
    """Whether any worker has ever served it; if not, runs were only enqueued to it."""
    code_since: datetime | None = None
    """Since when it has the code that it has now, and which worker brought that."""
    code_by: str | None = None
    last_start: datetime | None = None
    """When the last of its runs was started, as far as the newest of each state tell."""
    retention: str = KEEP
    """How long its runs are kept once they have ended: `30d`, `completed=30d,failed=keep`, or `keep`."""
    is_newest: bool = True
    """Whether no other version of the workflow came after it."""

    @property
    def in_flight(self) -> RunCount:
        """How many runs of it have not ended."""
        counts = self.runs.values()
        return RunCount(sum(count.runs for count in counts), capped=any(count.capped for count in counts))

    @property
    def is_stranded(self) -> bool:
        """Whether runs of it are in flight that no live worker serves."""
        return bool(self.runs) and not self.workers

    @property
    def is_drained(self) -> bool:
        """Whether its code may go: a later version is there, no run of it is in flight and no schedule starts any."""
        return not self.is_newest and not self.runs and not self.has_schedule


class RegisteredWorkflows:
    """The workflows that workers have registered in the client's namespace."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def list(self, name: str | None = None, *, standing: bool = True) -> list[WorkflowInfo]:
        """Return all versions of all workflows, or of one, the newest first, with what is in flight of each.

        Versions that runs were only enqueued to are among them. Without their `standing` nothing is counted, and only
        what workers have registered is returned.
        """
        routes = await registered(self._wire, name, standing=standing)
        newest = {route.workflow: route.version for route in reversed(routes)}
        return [_info(route, is_newest=newest[route.workflow] == route.version) for route in routes]


def _info(route: Route, *, is_newest: bool) -> WorkflowInfo:
    standing = route.standing or RouteStanding()
    return WorkflowInfo(
        route.workflow,
        route.version,
        stored.read(route.parameters),
        route.task_names,
        route.live,
        _events(route),
        {state: RunCount(count, capped=state in standing.capped) for state, count in standing.runs.items()},
        standing.workers,
        standing.worker_names,
        standing.has_schedule,
        standing.is_registered,
        None if standing.code_since is None else to_datetime(standing.code_since),
        standing.code_by or None,
        None if standing.last_start is None else to_datetime(standing.last_start),
        words(route.retention),
        is_newest,
    )


def _events(route: Route) -> dict[str, Any] | None:
    events = stored.read(route.events)
    return events if isinstance(events, dict) else None


async def registered(wire: Wire, workflow: str | None, *, standing: bool = False) -> list[Route]:
    """Return the routes that workers have registered, of one workflow or all, in as many requests as it takes.

    With their `standing` also those that runs were only enqueued to.
    """
    routes: list[Route] = []
    cursor: str | None = None
    while True:
        reply = await wire.call(Workflows(workflow, cursor, standing))
        routes += reply.routes
        if (cursor := reply.cursor) is None:
            return routes


async def known_names(wire: Wire) -> list[str]:
    """Return names of workflows that workers have registered: those that fit one reply, for a guess at one."""
    reply = await wire.call(Workflows())
    return list(dict.fromkeys(route.workflow for route in reply.routes))
