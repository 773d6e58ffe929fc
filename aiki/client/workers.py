"""Own the workers of a namespace as a client sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from aiki.core.moments import to_datetime
from aiki.wire.messages import Workers

if TYPE_CHECKING:
    from aiki.client.wire import Wire
    from aiki.wire.messages import SessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A live worker session."""

    worker: str
    """Its name: given, or host and process."""
    session_id: str
    since: datetime
    seen_at: datetime
    """Its last renewal."""
    slots: int | None
    """Runs that it takes at once; None if it has not said so."""
    running: int
    """Runs that it holds."""
    draining: bool
    routes: Sequence[tuple[str, str]]
    """Workflows and versions that it serves: the first of them."""
    routes_total: int


def to_worker(row: SessionRow) -> WorkerInfo:
    """Return a session as a client sees it."""
    return WorkerInfo(
        worker=row.worker,
        session_id=row.id,
        since=to_datetime(row.since),
        seen_at=to_datetime(row.seen_at),
        slots=row.slots,
        running=row.running,
        draining=row.draining,
        routes=tuple(row.routes),
        routes_total=row.routes_total,
    )


Rows: TypeAlias = list[WorkerInfo]


class LiveWorkers:
    """The workers that live in the client's namespace."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def list(self) -> Sequence[WorkerInfo]:
        """Return the live workers by name. One that died is among them until its lease has run out."""
        found: Rows = []
        cursor: str | None = None
        while True:
            reply = await self._wire.call(Workers(cursor))
            found += map(to_worker, reply.sessions)
            if (cursor := reply.cursor) is None:
                return sorted(found, key=lambda one: (one.worker, one.session_id))
