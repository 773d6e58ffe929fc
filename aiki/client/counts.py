"""Own how many runs are in which state, as a client sees it."""

from __future__ import annotations

from dataclasses import dataclass

from aiki.client.wire import Wire
from aiki.core.states import State
from aiki.wire.messages import Summary


@dataclass(frozen=True, slots=True)
class RouteCount:
    """How many runs of a workflow's version are in a state.

    Runs that have ended are counted to 10,000; if there are more, the count is `capped`.
    """

    workflow: str
    version: str
    state: State
    runs: int
    capped: bool = False


@dataclass(frozen=True, slots=True)
class NamespaceSummary:
    """The namespace at a glance."""

    counts: list[RouteCount]
    workers: int


async def summary(wire: Wire) -> NamespaceSummary:
    """Return how many runs are in which state, by workflow and version, and how many workers are alive."""
    counts: dict[tuple[str, str, State], RouteCount] = {}
    cursor: str | None = None
    while True:
        reply = await wire.call(Summary(cursor))
        for row in reply.rows:
            counts[row.workflow, row.version, row.state] = RouteCount(
                row.workflow, row.version, row.state, row.runs, row.capped
            )
        if (cursor := reply.cursor) is None:
            return NamespaceSummary([count for _, count in sorted(counts.items())], reply.workers)
