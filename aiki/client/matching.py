"""Own which runs a filter means, page by page: however many they are, few of them are held at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from aiki.client.wire import Wire
from aiki.core.moments import to_wire
from aiki.core.states import TERMINAL, State
from aiki.wire.messages import ListRuns

PAGE_RUNS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """The runs that are all of this; without `states` those that have not ended."""

    workflow: str | None = None
    states: Iterable[State] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    """Enqueued then or later."""
    before: datetime | None = None
    """Enqueued before that."""


async def pages(wire: Wire, wanted: RunFilter) -> AsyncGenerator[Sequence[str], None]:
    """Yield the ids of the runs that are meant, newest first, some at a time.

    What happens to a run meanwhile does no harm: each is met once at most, and one that no longer fits may be missed.
    """
    request = ListRuns(
        states=list(wanted.states) or [state for state in State if state not in TERMINAL],
        workflow=wanted.workflow,
        labels=dict(wanted.labels),
        since=None if wanted.since is None else to_wire(wanted.since, what="since"),
        before=None if wanted.before is None else to_wire(wanted.before, what="before"),
        limit=PAGE_RUNS,
    )
    while True:
        reply = await wire.call(request)
        if reply.runs:
            yield [run.id for run in reply.runs]
        if reply.cursor is None:
            return
        request.cursor = reply.cursor
