"""Families under two daemons that do everything at once: nobody waits for an end that has been, none is told twice."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field

import msgspec
import pytest

from aiki.core.errors import NotFound
from aiki.core.states import Move
from aiki.wire.messages import Cancel, Claimed, End, StartOp, Unit
from aikid.engine import control
from tests.integration.daemon.engine import Engine, completed, parked
from tests.integration.daemon.family import CHILD, done, start

pytestmark = pytest.mark.anyio
DIGEST = "a" * 32
ROUNDS = int(os.environ.get("AIKI_STORM_ROUNDS", "25"))
TWICE = "SELECT run_id, name FROM aiki.inbox WHERE kind = 'child' GROUP BY 1, 2 HAVING count(*) > 1"
LEFT = "SELECT id::text, state FROM aiki.runs WHERE state NOT IN ('completed', 'failed', 'cancelled')"
ORPHANS = """
SELECT c.run_id::text FROM aiki.children c JOIN aiki.runs p ON p.id = c.parent_id JOIN aiki.runs r ON r.id = c.run_id
WHERE c.owned AND c.parent_close = 'cancel' AND p.state IN ('completed', 'failed', 'cancelled')
  AND r.state NOT IN ('completed', 'failed', 'cancelled') AND r.cancel_seq IS NULL
"""


@dataclass
class Storm:
    """What actors share: the runs that they hold, and all that there are."""

    engines: list[Engine]
    session: str
    dice: random.Random
    held: list[tuple[Claimed, int]] = field(default_factory=list)
    """With the length of each journal."""
    ids: list[str] = field(default_factory=list)

    async def act(self, engine: Engine) -> None:
        match self.dice.randrange(8):
            case 0:
                self.ids.append(await engine.queued_run())
            case 1:
                self.held += [(run, run.length) for run in await engine.claim(self.session, limit=3)]
            case 2 if self.ids:
                order = Cancel([self.dice.choice(self.ids)], force=self.dice.random() < 0.3)
                await control.cancel(engine.pool, engine.namespace, order)
            case 3:
                await done(engine)
            case _ if self.held:
                run, length = self.held.pop(self.dice.randrange(len(self.held)))
                await self.go_on(engine, run, length)

    def starts(self, depth: int) -> list[StartOp]:
        """Return starts, some with keys: runs of each level share some, so that no circle comes of them."""
        ops = [start(priority=self.dice.randrange(3)) for _ in range(self.dice.randrange(1, 4))]
        for op in ops:
            if self.dice.random() < 0.4:
                options = msgspec.structs.replace(op.options, key=f"{depth}-{self.dice.randrange(6)}")
                op.options, op.digest = options, DIGEST
        return ops

    async def go_on(self, engine: Engine, run: Claimed, length: int) -> None:
        unit = Unit(run.fence, length, [], [])
        what = self.dice.randrange(4)
        if what < 2:
            unit.starts = self.starts(run.depth)
            self.ids += [op.id for op in unit.starts if op.options.key is None]
        if what in (1, 2):
            unit.end = await self.park(engine, run, unit.starts)
        if what == 3:
            unit.end = completed()
            unit.end.parent = run.parent is not None and self.dice.random() < 0.7
        (recorded,) = await engine.record(unit)
        if recorded.result == "done" and (unit.end is None or not recorded.parked):
            self.held.append((run, length))

    async def park(self, engine: Engine, run: Claimed, starts: list[StartOp]) -> End:
        """Return a park for ends, if there are any left to come; else the claim is given back.

        What a start with a key comes to is not known yet: it may stand for no run.
        """
        try:
            missing, news = await self.missing(engine, run)
        except NotFound:  # it was ended by force
            return End(Move.RELEASE)
        missing += len(starts)
        if missing < 1 or any(op.options.key for op in starts):
            return End(Move.RELEASE)
        return parked(news, CHILD, ends=self.dice.randrange(1, missing + 1))

    async def missing(self, engine: Engine, run: Claimed) -> tuple[int, int]:
        """Return how many ends of its children a run has not heard of, and the number of its last arrival."""
        run_id = run.fence.run_id
        reply = await engine.inbox(run_id)
        ((count,),) = await engine.execute("SELECT count(*) FROM aiki.children WHERE parent_id = %s", run_id)
        return count - sum(one.kind == CHILD for one in reply.arrivals), reply.news

    async def calm_down(self, engine: Engine) -> None:
        """Give all back that is held, and let each run end that has heard of all its children, until nothing moves."""
        for run, length in self.held:
            await engine.record(Unit(run.fence, length, [], [], End(Move.RELEASE)))
        while True:
            await done(engine)
            runs = await engine.claim(self.session, limit=100)
            if not runs:
                return
            for run in runs:
                missing, news = await self.missing(engine, run)
                end = parked(news, CHILD, ends=missing) if missing else completed()
                await engine.record(Unit(run.fence, run.length, [], [], end))


@pytest.mark.parametrize("seed", range(int(os.environ.get("AIKI_STORM_SEEDS", "2"))))
async def test_nobody_waits_for_an_end_that_has_been(engine: Engine, rival: Engine, seed: int) -> None:
    storm = Storm([engine, rival], await engine.session(), random.Random(seed))

    async def actor(one: Engine) -> None:
        for _ in range(ROUNDS):
            await storm.act(one)

    await asyncio.gather(*(actor(one) for one in (engine, rival) for _ in range(3)))
    await storm.calm_down(engine)
    assert await engine.execute(TWICE) == []
    assert await engine.execute(LEFT) == []
    assert await engine.execute(ORPHANS) == []
    assert await engine.execute("SELECT kind FROM aiki.errands") == []
