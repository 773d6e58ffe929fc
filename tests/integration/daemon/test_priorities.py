"""Priority holds however many wait: it comes before all else, and what was woken comes first only within one."""

from __future__ import annotations

import pytest

from aiki.core.states import Move
from aiki.wire.messages import End, Route
from tests.integration.daemon.engine import VERSION, Engine, new_run, unit
from tests.integration.daemon.family import start, starting

pytestmark = pytest.mark.anyio

BACKLOG = 10_000
WOKEN = 3_000
ROUTES = [("flow", VERSION), ("other", VERSION)]


async def backlog(engine: Engine) -> None:
    """Have runs wait: BACKLOG new ones, and WOKEN that have begun before."""
    for first in range(0, BACKLOG + WOKEN, 1_000):
        await engine.enqueue(*(new_run(workflow=ROUTES[n % 2][0]) for n in range(first, first + 1_000)))
    woken = (
        "UPDATE aiki.runs SET started_at = created_at, due_at = NULL WHERE id IN (SELECT id FROM aiki.runs LIMIT %s)"
    )
    await engine.execute(woken, WOKEN)


@pytest.mark.parametrize("routes", [ROUTES, ROUTES[:1]])
async def test_a_higher_priority_is_claimed_first_however_many_wait_and_were_woken(
    engine: Engine, routes: list[tuple[str, str]]
) -> None:
    session = await engine.session(routes=[Route(*route) for route in ROUTES])
    await backlog(engine)
    runs = [new_run(priority=priority) for priority in (1, 9, -1, 1)]
    await engine.enqueue(*runs)
    claimed = (await engine.claim_reply(session, limit=50, routes=routes)).runs
    first, second, low, third = (run.id for run in runs)
    assert [run.fence.run_id for run in claimed[:3]] == [second, first, third]
    assert low not in {run.fence.run_id for run in claimed}
    assert {run.priority for run in claimed[3:]} == {0}
    begun = await engine.execute("SELECT count(*) FROM aiki.runs WHERE state = 'running' AND started_at = created_at")
    assert begun == [(47,)], "within one priority those that were woken come first"
    parked = [unit(run.fence, end=End(Move.SLEEP, due_at=1)) for run in claimed[:3]]
    assert set(await engine.results(*parked)) == {"done"}
    assert sorted(await engine.wake()) == sorted([first, second, third])
    await engine.enqueue(fresh := new_run(priority=1))
    again = (await engine.claim_reply(session, limit=4, routes=routes)).runs
    assert [run.fence.run_id for run in again] == [second, first, third, fresh.id]


async def test_children_come_in_the_backlog_where_their_parent_would_or_where_their_own_priority_says(
    engine: Engine,
) -> None:
    session = await engine.session(routes=[Route(*route) for route in ROUTES])
    await engine.enqueue(new_run(priority=3), new_run(priority=0))
    high, plain = (await engine.claim_reply(session, limit=2, routes=ROUTES)).runs
    await backlog(engine)
    as_high, boosted, lowered = start(), start(priority=7), start(priority=-1)
    as_plain, lifted = start(), start(priority=5)
    assert await engine.results(starting(high, as_high, boosted, lowered), starting(plain, as_plain, lifted)) == [
        *("done", "done")
    ]
    claimed = (await engine.claim_reply(session, limit=5, routes=ROUTES)).runs
    assert [run.fence.run_id for run in claimed[:3]] == [boosted.id, lifted.id, as_high.id]
    assert not {lowered.id, as_plain.id} & {run.fence.run_id for run in claimed}
