"""What keys of tasks cost: statements and rows for those who want one, nothing for all others, pages for looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Raw, structs

from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES, UNIT_ITEMS
from aiki.wire.messages import Claimed, KeyAnswer, RecordReply, Unit
from aikid.engine import key_lines
from aikid.store import key_lines as store
from aikid.store import prepared
from aikid.store.key_lines import BATCH, BEGINNING
from tests.integration.daemon.costing import CountingPool
from tests.integration.daemon.engine import Engine, completed, entry, running_engine, unit
from tests.integration.daemon.keyed import KEY, SECOND, ask, asked, asking, ending, held, owner, result, told, words

pytestmark = pytest.mark.anyio

CROWD = """
WITH keys AS (
  INSERT INTO aiki.task_keys (namespace, scope, task, key, run_id, generation, epoch, call, digest, done_at, expires_at)
  SELECT 'default', '', 'charge', 'done-' || n, gen_random_uuid(), 0, 1, 'task:charge@x', '', now(), 'infinity'
  FROM generate_series(1, 50000) AS n
), held AS (
  INSERT INTO aiki.task_keys (namespace, scope, task, key, run_id, generation, epoch, call, digest)
  SELECT 'default', '', 'charge', 'held-' || n, %s, 0, 1, 'task:charge@x', '' FROM generate_series(1, 2000) AS n
)
INSERT INTO aiki.task_key_waiters (namespace, scope, task, key, run_id, generation, call, told_at)
SELECT 'default', '', 'charge', 'held-' || n, gen_random_uuid(), 0, '', CASE WHEN w < 3 THEN now() END
FROM generate_series(1, 2000) AS n, generate_series(1, 20) AS w
"""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of the short way to Postgres, from here on."""
    sent: list[str] = []
    rows = prepared.rows

    async def counted(connection: Any, statement: str, parameters: Any) -> Any:
        sent.append(statement)
        return await rows(connection, statement, parameters)

    monkeypatch.setattr(prepared, "rows", counted)
    return sent


async def test_what_a_key_costs_is_counted(engine: Engine, statements: list[str]) -> None:
    run, other = await held(engine), await held(engine)

    async def costs(*units: Unit) -> int:
        statements.clear()
        assert set(await engine.results(*units)) == {"done"}
        return len(statements)

    assert await costs(unit(run.fence, 0, entry("a"))) == 1, "no other unit pays for them"
    assert await costs(unit(run.fence, 1, entry("b")), asking(other, ask(key="l"))) == 1 + 3
    assert await costs(asking(run)) == 3, "who asks, its unit, the new row"
    assert await costs(asking(other)) == 5, "and how the row stands, and a place in line"
    assert await costs(ending(run, 2, end=completed())) == 5
    assert await costs(asking(other)) == 5, "the result, in place of a place in line"


async def test_keys_are_rows_of_their_own_and_change_no_run(engine: Engine) -> None:
    await owner(engine)
    others = [await held(engine) for _ in range(3)]
    versions = "SELECT sum(xmin::text::bigint) FROM aiki.runs"
    before = await engine.execute(versions)
    for other in others:
        assert (await asked(engine, other)).result == "waits"
    assert await engine.execute(versions) == before
    rows = "SELECT (SELECT count(*) FROM aiki.task_keys), (SELECT count(*) FROM aiki.task_key_waiters)"
    assert await engine.execute(rows) == [(1, 3)]


async def test_a_unit_that_wants_five_thousand_keys_is_done_as_one(engine: Engine, statements: list[str]) -> None:
    run, other = await held(engine), await held(engine)
    names = [str(n) for n in range(UNIT_ITEMS)]
    statements.clear()
    (said,) = await engine.record(asking(run, *(ask(key=name) for name in names)))
    assert ({answer.result for answer in said.keys}, len(said.keys), len(statements)) == ({"won"}, UNIT_ITEMS, 3)
    (said,) = await engine.record(asking(other, *(ask(key=name) for name in names)))
    assert {answer.result for answer in said.keys} == {"waits"}
    assert len(codec.encode(RecordReply(0, [said]))) < MESSAGE_BYTES
    done = unit(run.fence, 0, *(result(name) for name in names))
    done.keys = [ask("done", key=name, keep=SECOND * 60) for name in names]
    statements.clear()
    recorded = await engine.recorded(done)
    assert (len(recorded.changes.keys), len(statements)) == (UNIT_ITEMS, 5)
    await told(engine, *recorded.changes.keys)
    assert (await engine.inbox(other.fence.run_id)).news == 1_000, "as many as one page of its inbox has"
    ((count,),) = await engine.execute("SELECT news_seq FROM aiki.runs WHERE id = %s", other.fence.run_id)
    assert count == UNIT_ITEMS


async def test_results_beyond_a_message_are_asked_for_again(engine: Engine) -> None:
    """Each time some come along, the first whatever it weighs: so all have come after a few asks."""
    run, other = await held(engine), await held(engine)
    sizes = {"huge": 250_000} | {f"k{n}": 40_000 for n in range(8)}
    await engine.record(asking(run, *(ask(key=name) for name in sizes)))
    for base, (name, size) in enumerate(sizes.items()):
        await engine.record(ending(run, base, key=name, value=b'"%s"' % (b"x" * size)))
    left, asks = set(sizes), 0
    while left:
        asks += 1
        said = (await engine.record(asking(other, *(ask(key=name) for name in sorted(left)))))[0]
        assert len(codec.encode(RecordReply(0, [said]))) < MESSAGE_BYTES
        found = dict(zip(sorted(left), said.keys, strict=True))
        settled = {name for name, answer in found.items() if answer.result == "settled"}
        assert all(len(bytes(found[name].value)) == sizes[name] + 2 for name in settled)
        assert settled
        left -= settled
        assert {answer.result for name, answer in found.items() if name in left} <= {"waits"}
        assert sorted(key.key for key in (await told_of(engine, other))) == sorted(left)
    assert asks <= 5


async def told_of(engine: Engine, run: Claimed) -> list[Any]:
    """Have a run be told of the keys that it waits for; return these."""
    before = len(await words(engine, run))
    await told(engine)
    came = (await words(engine, run))[before:]
    return [KEY._replace(key=name.partition("@")[2]) for _, name in came]


@asynccontextmanager
async def explaining(engine: Engine) -> AsyncIterator[CountingPool]:
    pool = CountingPool(engine.database)
    yield pool
    await pool.aclose()


async def test_a_look_reads_as_much_as_the_keys_that_it_is_for(engine: Engine) -> None:
    """However many are done, and however many wait for each."""
    run = await owner(engine)
    await engine.execute(CROWD, run.fence.run_id)
    await engine.execute("ANALYZE aiki.task_keys, aiki.task_key_waiters, aiki.runs")
    async with explaining(engine) as pool:
        lines = await pool.run(lambda c: store.walk(c, BEGINNING))
        assert len(lines) == BATCH
        assert pool.buffers < BATCH * 25
        looked = pool.buffers
        await pool.run(lambda c: store.look(c, [KEY, lines[0].key]))
        assert pool.buffers - looked < 50


async def test_all_keys_are_come_to_a_batch_at_a_time(engine: Engine) -> None:
    run = await owner(engine)
    await engine.execute(CROWD, run.fence.run_id)
    counts = [looked.count async for looked in key_lines.walk(engine.pool, BEGINNING)]
    assert counts == [BATCH] * key_lines.STEPS


async def test_programs_of_keys_in_any_order_all_end_and_each_result_is_one(engine: Engine, database: str) -> None:
    """Twelve runs on two daemons, each of which wants some keys at once, over and over, and gives up some."""
    import random

    draw = random.Random(7)
    names = [f"k{n}" for n in range(6)]
    tried: dict[str, int] = dict.fromkeys(names, 0)
    async with running_engine(database) as rival:
        programs = {}
        for _ in range(12):
            run = await held(engine)
            programs[run.fence.run_id] = (run, draw.sample(names, draw.randint(1, 6)))
        bases = dict.fromkeys(programs, 0)
        steps = 0
        while any(left for _, left in programs.values()):
            steps += 1
            assert steps < 2_000, "some run waits for ever"
            run_id = draw.choice([run_id for run_id, (_, left) in programs.items() if left])
            run, left = programs[run_id]
            daemon = draw.choice([engine, rival])
            some = draw.sample(left, draw.randint(1, len(left)))
            answers = (await daemon.record(asking(run, *(ask(key=name) for name in some))))[0].keys
            for name, answer in zip(some, answers, strict=True):
                if answer.result == "settled":
                    assert answer.value == Raw(b'"%s"' % name.encode())
                    left.remove(name)
                elif answer.result == "won" and draw.random() < 0.3:
                    assert await asked(daemon, run, ask("free", key=name)) == KeyAnswer("taken")
                elif answer.result == "won":
                    tried[name] += 1
                    done = structs.replace(ending(run, bases[run_id], key=name, value=b'"%s"' % name.encode()))
                    assert await daemon.results(done) == ["done"]
                    bases[run_id] += 1
                    left.remove(name)
    assert set(tried.values()) <= {0, 1}
    assert await engine.execute("SELECT count(*) FROM aiki.task_key_waiters") == [(0,)]
