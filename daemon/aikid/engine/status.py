"""Read runs by id for many callers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from aiki.core.errors import NotFound
from aiki.core.retention import GONE
from aiki.core.states import State
from aiki.wire import weights
from aiki.wire.messages import NONE, RunStatus, StatusReply
from aiki.wire.packing import fitting, reply_room, too_large
from aikid.store import status as store
from aikid.store.pool import Pool

RunKey = tuple[str, str]
_TRYING: Final = frozenset({State.RUNNING, State.RETRYING})
_TRIED_RUNS: Final = 50
"""Runs of one request of which is read what went wrong: what a person looks at, each 16 KB at most."""

_TOLD_TASKS: Final = 100
"""Tasks of these of which is read how far they are."""


async def statuses(pool: Pool, wanted: Sequence[RunKey]) -> dict[RunKey, RunStatus]:
    """Return those of `wanted` that exist. Raises Unavailable."""
    unique = list(dict.fromkeys(wanted))
    return await pool.run(lambda c: store.read(c, unique)) if unique else {}


async def tried(pool: Pool, found: Mapping[RunKey, RunStatus]) -> dict[RunKey, RunStatus]:
    """Say of runs, with the try that failed, that one of their tasks is tried again, where it is so: of the first few.

    A short wait for it passes in the worker's memory, so such a run may be running. Raises Unavailable.
    """
    silent = [key for key, run in found.items() if run.state in _TRYING and run.why is None][:_TRIED_RUNS]
    if not silent:
        return dict(found)
    due = await pool.run(lambda c: store.due_attempts(c, [run_id for _, run_id in silent]))
    told = {key: replace(found[key], tried=due[key[1]]) for key in silent if key[1] in due}
    return {**found, **told}


async def progressing(pool: Pool, found: Mapping[RunKey, RunStatus]) -> dict[RunKey, RunStatus]:
    """Say of the first few runs that run how far their tasks are, where these have told. Raises Unavailable."""
    running = [key for key, run in found.items() if run.state is State.RUNNING][:_TRIED_RUNS]
    if not running:
        return dict(found)
    said = await pool.run(lambda c: store.progress(c, [run_id for _, run_id in running], limit=_TOLD_TASKS))
    told = {key: replace(found[key], progress=said[key[1]]) for key in running if key[1] in said}
    return {**found, **told}


def reply(ids: Sequence[str], found: Mapping[str, RunStatus], *, room: int) -> StatusReply:
    """Return what was found of `ids`, from the first on, as much as fits `room`."""
    told = {run_id: within(run, room) for run_id, run in found.items()}
    count = fitting((weights.of_status(told[i]) if i in told else 0 for i in ids), reply_room(room))
    return StatusReply([told[i] for i in dict.fromkeys(ids[:count]) if i in told], rest=len(ids) - count)


def within(run: RunStatus, room: int) -> RunStatus:
    """Return the run as it is told in a message of `room` bytes.

    One that is larger is told without its details, and if it still is (the server took more when its result was
    recorded) without its payloads, and says why.
    """
    if weights.of_status(run) <= reply_room(room):
        return run
    run = replace(run, details=NONE)  # they are for people, its result is for programs
    if weights.of_status(run) <= reply_room(room):
        return run
    error = too_large("its result", len(run.output) + len(run.error), room=room)
    return replace(run, output=NONE, error=NONE, why=error.message)


def no_run(run_id: str, namespace: str) -> NotFound:
    """Return the error for a run that does not exist."""
    return NotFound(
        f"there is no run {run_id[:64]!r} in namespace {namespace!r}: {GONE}",
        hint="await client.runs.list()",
        command="aiki run list",
    )
