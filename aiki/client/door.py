"""Own what the handles of a client speak through: one door for all of them, so that a handle costs nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from aiki.client import control, waits
from aiki.client.wire import Wire
from aiki.core.errors import NotFound
from aiki.wire.messages import RunStatus


class ClientDoor:
    """Reads, waits and orders as the client would itself."""

    def __init__(self, wire: Wire, waiting: waits.Waits) -> None:
        self._wire = wire
        self._waits = waiting

    async def read(self, run_id: str) -> RunStatus:
        """Return the run as it is now. Raises NotFound."""
        found = await waits.read(self._wire, [run_id])
        if run_id not in found:
            raise NotFound(f"run {run_id} does not exist in namespace {self._wire.namespace!r}")
        return found[run_id]

    def end(self, run_id: str) -> Coroutine[Any, Any, RunStatus]:
        """Return the run as soon as it has ended or needs a person. Raises NotFound."""
        return self._waits.end(run_id)

    def changes(self, run_id: str) -> AsyncGenerator[RunStatus, None]:
        """Yield the run as it is now, then again at each change, until it has ended. Raises NotFound."""
        return self._waits.changes(run_id)

    async def resume(self, run_id: str) -> RunStatus:
        """Queue the run again. Raises Conflict if its state forbids it."""
        return await control.resume(self._wire, run_id)
