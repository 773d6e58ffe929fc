"""Own what tests of retries do over and over: runs that have ended, and what a retry makes of them."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from aiki.core.states import Move
from aiki.wire.codec import encode
from aiki.wire.messages import Claimed, End, Entry, Failure, Redone, Retry, RetryReply
from aikid.engine import retries
from aikid.engine.changes import Done
from tests.integration.daemon.engine import Engine, unit


def outcome(name: str, *, asked: int, ok: bool = True, at: int = 1_000_000) -> Entry:
    """Return the outcome of a task."""
    return Entry(f"task:{name}:d:1", ok, Raw(b'"value"'), at, None, asked)


def failed(place: int | None = None) -> End:
    """Return the end of a body that the entry at this place has failed."""
    return End(Move.FAIL, error=Raw(encode(Failure("ValueError", "no", cut=place))))


async def ended(engine: Engine, *entries: Entry, end: End | None = None, **options: Any) -> Claimed:
    """Return a run that has ended with this journal; its last entry has failed it."""
    await engine.queued_run(**options)
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, 0, *entries, end=end or failed(len(entries) or None))) == ["done"]
    return run


async def carried_out(engine: Engine, *run_ids: str, **order: Any) -> Done[Any]:
    """Give the order, and return all that comes of it."""
    return await retries.retry(engine.pool, engine.namespace, Retry(list(run_ids), **order), room=engine.room)


async def retried(engine: Engine, run_id: str, **order: Any) -> Redone:
    """Return what has come of the retry of one run."""
    (reply,) = (await carried_out(engine, run_id, **order)).replies
    assert isinstance(reply, RetryReply)
    (said,) = reply.outcomes
    return said


async def taken_up(engine: Engine, run_id: str, **order: Any) -> Claimed:
    """Return the retry of a run, claimed."""
    new = (await retried(engine, run_id, **order)).run_id
    run = await engine.claim_one()
    assert run.fence.run_id == new
    return run
