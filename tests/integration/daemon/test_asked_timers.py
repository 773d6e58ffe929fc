"""Asked timers: one fires only if all has been seen that came before it was due, and nothing comes under it then."""

from __future__ import annotations

import asyncio
import random

import pytest

from aiki.wire.messages import Claimed, Recorded, Unit
from tests.integration.daemon.arriving import LOCK, asking, clock, held, results
from tests.integration.daemon.engine import Engine, entry, event, locked, op

pytestmark = pytest.mark.anyio


async def test_an_asked_timer_fires_when_it_is_due_and_all_before_it_is_seen(engine: Engine) -> None:
    run = await held(engine)
    now = await clock(engine)
    assert await engine.record(asking(run, now + 60_000_000, 0, 0, entry("a"))) == [Recorded("done", timer="early")]
    assert len(await engine.journal(run.fence.run_id)) == 1
    fired = asking(run, now, 0, 1)
    assert await engine.record(fired) == [Recorded("done", timer="done")]
    assert [key for _, key, _ in await engine.journal(run.fence.run_id)] == [entry("a").key, entry("timer").key]
    assert await engine.record(fired) == [Recorded("done", timer="done")]
    assert len(await engine.journal(run.fence.run_id)) == 2


async def test_what_came_up_to_then_goes_before_a_timer(engine: Engine) -> None:
    run = await held(engine)
    before = await clock(engine)
    await engine.send(event(run.fence.run_id))
    after = await clock(engine)
    assert await engine.record(asking(run, after, 0)) == [Recorded("done", timer="news", news=1)]
    assert await engine.record(asking(run, before, 0)) == [Recorded("done", timer="done", news=1)]
    assert await engine.record(asking(run, after, 1, 1)) == [Recorded("done", timer="done", news=1)]


async def test_nothing_comes_under_a_timer_that_has_fired_even_if_the_clock_steps_back(engine: Engine) -> None:
    run = await held(engine)
    due = await clock(engine)
    assert (await engine.record(asking(run, due, 0)))[0].timer == "done"
    behind = "CREATE OR REPLACE FUNCTION aiki.clock() RETURNS timestamptz LANGUAGE sql VOLATILE RETURN {}"
    await engine.execute(behind.format("pg_catalog.clock_timestamp() - interval '1 hour'"))
    await engine.send(event(run.fence.run_id), event(run.fence.run_id))
    assert [one.at for one in (await engine.inbox(run.fence.run_id)).arrivals] == [due + 1, due + 2]


async def test_an_event_in_the_batch_of_a_timer_comes_after_it(engine: Engine) -> None:
    sender = await held(engine)
    run = await held(engine)
    due = await clock(engine)
    sending = Unit(sender.fence, 0, [], [], None, [op(run.fence.run_id)])
    assert [one.timer for one in await engine.record(sending, asking(run, due, 0))] == [None, "done"]
    (arrival,) = (await engine.inbox(run.fence.run_id)).arrivals
    assert arrival.at > due


async def test_an_event_that_had_to_wait_for_the_row_is_not_older_than_what_was_decided_meanwhile(
    engine: Engine, rival: Engine
) -> None:
    """The timer's record has the row first; the event began before the date, and comes after it."""
    run = await held(engine)
    async with locked(engine.database, LOCK, run.fence.run_id) as holder:
        due = await clock(engine)
        asked = asyncio.create_task(engine.record(asking(run, due, 0)))
        await engine.until_waiting()
        sending = asyncio.create_task(rival.send(event(run.fence.run_id)))
        await engine.until_waiting(2)
        await holder.commit()
    assert (await asked)[0].timer == "done"
    assert results(await sending) == ["taken"]
    assert (await engine.inbox(run.fence.run_id)).arrivals[0].at > due


async def test_in_600_rounds_no_event_in_time_is_overtaken_by_its_timeout(engine: Engine, rival: Engine) -> None:
    session = await engine.session()
    draw = random.Random(600)
    said: set[str | None] = set()
    for _ in range(30):
        for _ in range(20):
            await engine.queued_run()
        runs = await engine.claim(session, limit=20)
        now = await clock(engine)
        dues = [now + draw.randrange(20_000, 60_000) for _ in runs]
        fires = [fire(engine, run, due, said) for run, due in zip(runs, dues, strict=True)]
        sends = [
            sent_at(rival, run.fence.run_id, (due - now + draw.randrange(-15_000, 15_000)) / 1e6)
            for run, due in zip(runs, dues, strict=True)
        ]
        seen, _ = await asyncio.gather(asyncio.gather(*fires), asyncio.gather(*sends))
        for run, due, after in zip(runs, dues, seen, strict=True):
            arrivals = (await engine.inbox(run.fence.run_id, after)).arrivals
            assert [one for one in arrivals if one.at <= due] == []
    assert said == {"done", "early", "news"}


async def fire(engine: Engine, run: Claimed, due: int, said: set[str | None]) -> int:
    """Ask until the timer has fired, as a worker does; return what had been seen then."""
    seen = 0
    while True:
        (recorded,) = await engine.record(asking(run, due, seen))
        said.add(recorded.timer)
        if recorded.timer == "done":
            return seen
        seen = (await engine.inbox(run.fence.run_id)).news


async def sent_at(engine: Engine, run_id: str, seconds: float) -> None:
    """Send at a moment of the round."""
    await asyncio.sleep(seconds)
    await engine.send(event(run_id))
