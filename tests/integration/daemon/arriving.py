"""Own what tests of arrivals do over and over: runs that are held or parked, and what reached them."""

from __future__ import annotations

from collections.abc import Sequence

from aiki.wire.messages import Arrival, Claimed, Entry, Outcome, Recorded, TimerAsk, Unit
from tests.integration.daemon.engine import Engine, entry, parked, unit

APPROVED = "event:approved"
LOCK = "SELECT FROM aiki.runs WHERE id = %s FOR UPDATE"


def results(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.result for outcome in outcomes]


def taken(arrivals: Sequence[Arrival]) -> list[tuple[int, str, str]]:
    return [(one.number, one.kind, one.name) for one in arrivals]


async def held(engine: Engine, session: str | None = None) -> Claimed:
    """Return a run that is claimed."""
    await engine.queued_run()
    return await engine.claim_one(session)


async def waiting(engine: Engine, *waits: str) -> str:
    """Return a run that has parked."""
    run = await held(engine)
    assert await engine.record(unit(run.fence, end=parked(run.news, *waits))) == [Recorded("done")]
    return run.fence.run_id


def asking(run: Claimed, due: int, seen: int, base: int = 0, *entries: Entry) -> Unit:
    return Unit(run.fence, base, list(entries), [], None, [], TimerAsk(entry("timer"), due, seen))


async def clock(engine: Engine) -> int:
    ((now,),) = await engine.execute("SELECT (extract(epoch FROM aiki.clock()) * 1000000)::bigint")
    return int(now)
