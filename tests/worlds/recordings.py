"""Own how a run in memory becomes a recording, as a server would give it: whole, or as it stood in the middle."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import TYPE_CHECKING

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import TERMINAL, State
from aiki.replay.recording import Recording
from aiki.testing.memory.exports import rested
from aiki.wire.codec import encode
from aiki.wire.messages import NONE, Claimed, Fence
from aiki.wire.messages.exports import Exported

if TYPE_CHECKING:
    from aiki.testing.memory.run import Run


def recorded(run: Run) -> Recording:
    """Return the run as it stands."""
    retry, began_at = run.options.retry, run.started_at if run.began_at is None else run.began_at
    claimed = Claimed(
        fence=Fence(run.id, run.standing.epoch, ""),
        origin_id=run.origin_id,
        workflow=run.workflow,
        version=run.version,
        input=run.input,
        claims=run.standing.epoch,
        started_at=began_at or run.created_at,
        key=run.options.key,
        labels=dict(run.labels),
        length=len(run.life.journal),
        attempt=run.attempt,
        generation=run.generation,
        parent=None if run.parent is None else run.parent.id,
        depth=run.depth,
        priority=run.priority,
        retry=NONE if retry is None else Raw(encode(retry)),
        first_at=run.started_at if run.generation else None,
        fired=run.options.fired,
    )
    waits, due_at = rested(run)
    ended = (run.finished_at, run.output, run.error, run.why)
    return Recording(
        Exported(claimed, run.state, run.created_at, *ended, waits=waits, due_at=due_at),
        entries=run.life.told(),
        tries=run.life.last_tries(),
        ends=run.inbox.ends(0, run.generation, 1_000_000).arrivals,
        unread=[*run.inbox.unread.values()],
    )


def cut_at(recording: Recording, length: int) -> Recording:
    """Return the run as it stood when its journal had so many entries, and a worker had it."""
    exported = recording.exported
    run = replace(exported.run, length=length)
    state = State.RUNNING if exported.state in TERMINAL else exported.state
    return changed(
        recording,
        exported=replace(exported, run=run, state=state, finished_at=None, output=NONE, error=NONE, why=None),
        entries=recording.entries[:length],
        tries=[],
        unread=[],
    )
