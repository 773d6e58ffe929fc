"""Of keys of tasks nothing stays that says nothing: and nothing that is held, stands, or is waited for goes."""

from __future__ import annotations

import psycopg
import pytest

from aiki.core.states import Move
from aiki.wire.messages import End
from aikid.loops.pruner import Pruner
from aikid.store.key_pruning import KeyKind
from aikid.store.pruning import BATCH
from tests.integration.daemon.engine import Engine, completed, locked, onward, unit
from tests.integration.daemon.keyed import ask, asked, asking, ending, held, waiters

pytestmark = pytest.mark.anyio
WAYS = {
    KeyKind.RESULTS: "task_keys_expiring",
    KeyKind.OWNED: "task_keys_owned",
    KeyKind.WAITERS: "task_key_waiters_pkey",
}
EXPIRED = """
INSERT INTO aiki.task_keys (namespace, scope, task, key, run_id, generation, epoch, call, digest, done_at, expires_at)
SELECT 'default', '', 'charge', n::text, gen_random_uuid(), 0, 1, '', '', now(), now() - n * interval '1 s'
FROM generate_series(1, %s) AS n
"""


async def pruned(engine: Engine) -> int:
    """Look until the end is reached and nothing more is found; return how many rows were deleted."""
    pruner = Pruner(engine.pool)
    count = deleted = await pruner.run_once()
    while deleted or not pruner.is_over:
        deleted = await pruner.run_once()
        count += deleted
    return count


async def keys(engine: Engine) -> list[str]:
    return [key for (key,) in await engine.execute("SELECT key FROM aiki.task_keys ORDER BY key")]


async def test_results_go_when_they_have_expired_however_many(engine: Engine) -> None:
    run = await held(engine)
    await engine.record(asking(run, ask(key="stands"), ask(key="over")))
    await engine.record(ending(run, 0, key="over", keep=0))
    await engine.record(ending(run, 1, key="stands"))
    await engine.execute(EXPIRED, 2 * BATCH + 1)
    assert await pruned(engine) == 2 * BATCH + 2
    assert await keys(engine) == ["stands"]


async def test_a_result_that_another_looks_at_is_for_the_next_time(engine: Engine) -> None:
    await engine.execute(EXPIRED, 2)
    async with locked(engine.database, "SELECT 1 FROM aiki.task_keys WHERE key = '1' FOR UPDATE"):
        assert await pruned(engine) == 1
    assert await pruned(engine) == 1


async def test_what_a_run_had_goes_with_its_end_and_not_before(engine: Engine) -> None:
    session = await engine.session()
    runs = {
        name: await held(engine, session) for name in ("completed", "deleted", "queued", "left", "parked", "running")
    }
    for name, run in runs.items():
        assert (await asked(engine, run, ask(key=name))).result == "won"
    await engine.record(asking(runs["left"], ask("left", key="left")))
    ends = {
        "completed": completed(),
        "left": completed(),
        "queued": End(Move.RELEASE),
        "parked": End(Move.SLEEP, due_at=1),
    }
    for name, end in ends.items():
        assert await engine.results(unit(runs[name].fence, end=end)) == ["done"]
    await engine.execute("DELETE FROM aiki.runs WHERE id = %s", runs["deleted"].fence.run_id)
    assert await pruned(engine) == 2
    assert await keys(engine) == ["left", "parked", "queued", "running"]
    await engine.close(session)
    assert await pruned(engine) == 1


async def test_places_in_line_go_with_their_runs_and_with_their_generations(engine: Engine) -> None:
    run = await held(engine)
    assert (await asked(engine, run)).result == "won"
    ended, went_on, again, gone, waits = [await held(engine) for _ in range(5)]
    for one in (ended, went_on, again, gone, waits):
        assert (await asked(engine, one)).result == "waits"
    await engine.results(unit(ended.fence, end=completed()))
    await engine.results(unit(again.fence, end=onward()))
    assert (await asked(engine, await engine.claim_one())).result == "waits"
    await engine.results(unit(went_on.fence, end=onward()))
    await engine.execute("DELETE FROM aiki.runs WHERE id = %s", gone.fence.run_id)
    assert await pruned(engine) == 3
    assert sorted(run_id for run_id, _ in await waiters(engine)) == sorted([again.fence.run_id, waits.fence.run_id])


async def test_the_ways_to_what_is_pruned_of_keys_are_indexes(engine: Engine) -> None:
    async with await psycopg.AsyncConnection.connect(engine.database) as connection:
        await connection.execute("SET enable_seqscan = off")
        for kind in KeyKind:
            cursor = await connection.execute(f"EXPLAIN {kind.value}".encode(), kind.beginning)
            plan = "\n".join([line async for (line,) in cursor])
            assert WAYS[kind] in plan
            assert "Seq Scan" not in plan
