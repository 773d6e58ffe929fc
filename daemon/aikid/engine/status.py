"""Read runs by id for many callers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from aiki.wire import weights
from aiki.wire.messages import NONE, RunStatus, StatusReply
from aiki.wire.packing import fitting, too_large
from aikid.store import status as store
from aikid.store.pool import Pool, Priority

RunKey = tuple[str, str]
_REPLY_BYTES: Final = 256
"""A reply beside its runs."""


async def statuses(pool: Pool, wanted: Sequence[RunKey]) -> dict[RunKey, RunStatus]:
    """Return those of `wanted` that exist. Raises Unavailable."""
    unique = list(dict.fromkeys(wanted))
    if not unique:
        return {}
    return await pool.run(lambda c: store.read(c, unique), priority=Priority.READ)


def reply(ids: Sequence[str], found: Mapping[str, RunStatus], *, room: int) -> StatusReply:
    """Return what was found of `ids`, from the first on, as much as fits `room`."""
    told = {run_id: within(run, room) for run_id, run in found.items()}
    count = fitting((weights.of_status(told[i]) if i in told else 0 for i in ids), room - _REPLY_BYTES)
    return StatusReply([told[i] for i in dict.fromkeys(ids[:count]) if i in told], rest=len(ids) - count)


def within(run: RunStatus, room: int) -> RunStatus:
    """Return the run as it is told in a message of `room` bytes.

    One that is larger (the server took more when its result was recorded) is told without its payloads, and says why.
    """
    if weights.of_status(run) <= room - _REPLY_BYTES:
        return run
    error = too_large("its result", len(run.output) + len(run.error), room=room)
    return replace(run, output=NONE, error=NONE, why=error.message)
