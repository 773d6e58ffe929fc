"""Own what a client makes runs do."""

from __future__ import annotations

from aiki.client.wire import Wire
from aiki.wire.messages import Resume, RunStatus


async def resume(wire: Wire, run_id: str, *, actor: str | None = None) -> RunStatus:
    """Queue a blocked or retrying run again, and return it. Raises NotFound, or Conflict if its state forbids it."""
    return (await wire.call(Resume(run_id, actor))).run
