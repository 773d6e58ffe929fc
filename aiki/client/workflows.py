"""Own a client's reading of registered workflows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiki.client.wire import Wire
from aiki.definitions import stored
from aiki.wire.messages import Route, Workflows


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


class RegisteredWorkflows:
    """The workflows that workers have registered in the client's namespace."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def list(self, name: str | None = None) -> list[WorkflowInfo]:
        """Return all versions of all workflows, or of one."""
        return [
            WorkflowInfo(
                route.workflow,
                route.version,
                stored.read(route.parameters),
                route.task_names,
                route.live,
                _events(route),
            )
            for route in await registered(self._wire, name)
        ]


def _events(route: Route) -> dict[str, Any] | None:
    events = stored.read(route.events)
    return events if isinstance(events, dict) else None


async def registered(wire: Wire, workflow: str | None) -> list[Route]:
    """Return the routes that workers have registered, of one workflow or all, in as many requests as it takes."""
    routes: list[Route] = []
    cursor: str | None = None
    while True:
        reply = await wire.call(Workflows(workflow, cursor))
        routes += reply.routes
        if (cursor := reply.cursor) is None:
            return routes


async def known_names(wire: Wire) -> list[str]:
    """Return names of workflows that workers have registered: those that fit one reply, for a guess at one."""
    reply = await wire.call(Workflows())
    return list(dict.fromkeys(route.workflow for route in reply.routes))
