"""Own the reading of recordings from a server: some runs at a time, each whole, however long its journal is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from aiki.core.errors import NotFound, Unavailable
from aiki.core.keys import is_of_ends
from aiki.core.states import TERMINAL
from aiki.replay.recording import Recording
from aiki.wire.messages import Arrival, Export, Exported, History, Inbox, Input, Page

if TYPE_CHECKING:
    from aiki.client.wire import Wire

ASKED_RUNS: Final = 50
"""Runs of which one request asks."""
_AT_ONCE: Final = 4
"""Runs that are read at a time: as many journals are in memory, and those of the reply before."""
_TIMES: Final = 5


async def recordings(
    wire: Wire, found: AsyncIterator[Sequence[str]], *, named: bool, history: bool = False
) -> AsyncGenerator[Recording, None]:
    """Yield the runs with these ids, in order. A run that is gone meanwhile is left out.

    With `named` it was asked for by its id: raises NotFound. With `history` each has its story, too.
    """
    async for ids in found:
        for start in range(0, len(ids), ASKED_RUNS):
            left = list(ids[start : start + ASKED_RUNS])
            while left:
                reply = await wire.call(Export(left))
                looked, left = left[: len(left) - reply.rest], left[len(left) - reply.rest :]
                known = {one.run.fence.run_id: one for one in reply.runs}
                if named:
                    _check_known(wire, looked, known)
                async for recording in _whole(wire, [known[one] for one in looked if one in known], history=history):
                    recording.namespace, recording.exported_at = wire.namespace, reply.now
                    yield recording


def _check_known(wire: Wire, looked: Sequence[str], known: dict[str, Exported]) -> None:
    for run_id in looked:
        if run_id not in known:
            raise NotFound(f"run {run_id} does not exist in namespace {wire.namespace!r}", command="aiki run list")


async def _whole(wire: Wire, runs: Sequence[Exported], *, history: bool) -> AsyncGenerator[Recording, None]:
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        for recording in await asyncio.gather(*(_read(wire, one, history=history) for one in some)):
            if recording is not None:
                yield recording


async def _read(wire: Wire, exported: Exported, *, history: bool) -> Recording | None:
    """Return a run with all that did not come along; None if it is gone.

    What is read by pages is of the generation that the run is in then: one that has gone on meanwhile is read anew.
    """
    one: Exported | None = exported
    for _ in range(_TIMES):
        if one is None:
            return None
        try:
            recording, is_paged = await _complete(wire, one, history=history)
        except NotFound:
            return None
        if not is_paged or one.state in TERMINAL:
            return recording
        now = next(iter((await wire.call(Export([one.run.fence.run_id]))).runs), None)
        if now is not None and now.run.generation == one.run.generation:
            return recording
        one = now
    raise Unavailable(
        f"run {exported.run.fence.run_id} begins generation after generation and could not be read",
        command=f"aiki run pause {exported.run.fence.run_id}",
    )


async def _complete(wire: Wire, one: Exported, *, history: bool) -> tuple[Recording, bool]:
    """Return the run, and whether any of it was read by pages."""
    run, run_id = one.run, one.run.fence.run_id
    bare = replace(one, run=replace(run, entries=[], attempts=[], arrivals=[]))
    recording = Recording(bare, list(run.entries), list(run.attempts), [], list(run.arrivals))
    is_paged = len(recording.entries) < run.length or len(run.attempts) < run.tries
    if bytes(run.input) == b"null":
        bare.run.input, is_paged = (await wire.call(Input(run_id))).input, True
    while len(recording.entries) < run.length:
        page = (await wire.call(Page(run_id, len(recording.entries)))).entries
        recording.entries += page[: run.length - len(recording.entries)]
        if not page:
            break
    while len(recording.tries) < run.tries:
        after = max((one.key for one in recording.tries), default="")
        tries = (await wire.call(Page(run_id, tried_after=after))).attempts
        recording.tries += tries
        if not tries:
            break
    if any(is_of_ends(entry.key) for entry in recording.entries):
        recording.ends, is_paged = await _arrivals(wire, run_id, ends=True), True
    if run.unread > len(run.arrivals):
        recording.unread += await _arrivals(wire, run_id, after=run.news)
    if history:
        await _tell(wire, recording)
    return recording, is_paged


async def _arrivals(wire: Wire, run_id: str, *, after: int = 0, ends: bool = False) -> list[Arrival]:
    found: list[Arrival] = []
    while True:
        reply = await wire.call(Inbox(run_id, after, ends=ends, ended=True))
        found += reply.arrivals
        after = reply.news
        if not reply.more:
            return found


async def _tell(wire: Wire, recording: Recording) -> None:
    cursor: str | None = None
    while True:
        reply = await wire.call(History(recording.run_id, cursor))
        recording.history += reply.items
        if (cursor := reply.cursor) is None:
            return
