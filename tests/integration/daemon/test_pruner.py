"""The pruner deletes what no run needs any more, and nothing else."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from aiki.wire.messages import History
from aikid.engine import journal
from aikid.loops.pruner import Pruner
from aikid.store.pruning import BATCH, KEPT_GENERATIONS, KEPT_SECONDS, KEPT_SLOT_DAYS, KEPT_SLOTS, Kind
from tests.integration.daemon.asking import running_app
from tests.integration.daemon.engine import Engine, completed, entry, locked, new_id, onward, unit
from tests.integration.daemon.firing import declared, put
from tests.servers import Nats
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio
WAYS = {Kind.CONSUMED: "inbox_taken", Kind.SLOTS: "slots_at", Kind.KEYS: "keys_expiring"} | {
    Kind.LEFT_OVER: "errands_pkey",
    Kind.MINUTES: "minutes_written",
}
OLD, FRESH = KEPT_SECONDS + 60, KEPT_SECONDS - 60
ARRIVALS = """
INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, value, taken_generation, taken_seq)
SELECT g.run_id, n, g.run_id, (extract(epoch FROM now()) * 1000000)::bigint - g.seconds * 1000000 + n,
  'event', 'go', '1', g.generation, CASE WHEN g.generation IS NOT NULL THEN n END
FROM (SELECT %s::uuid AS run_id, %s::bigint AS seconds, %s::int AS generation) AS g, generate_series(1, %s) AS n
"""
LEFT = """
WITH given AS (
  SELECT %s::uuid AS run_id, %s::int AS generation
), entries AS (
  INSERT INTO aiki.journal (run_id, generation, seq, ok, at_us, key, value)
  SELECT run_id, generation, n, true, n, 'task:a:0:' || n, '1' FROM given, generate_series(1, %s) AS n
), counts AS (
  INSERT INTO aiki.task_counts (run_id, generation, seq, tasks) SELECT run_id, generation, 100, 100 FROM given
)
INSERT INTO aiki.attempts (run_id, generation, key, attempt, epoch, journal_length)
SELECT run_id, generation, 'task:a:0:1', 1, 1, 0 FROM given
"""
STANDING = """
SELECT run_id::text, generation, count(*) FROM (
  SELECT run_id, generation FROM aiki.journal UNION ALL SELECT run_id, generation FROM aiki.attempts
  UNION ALL SELECT run_id, generation FROM aiki.task_counts
) AS rows GROUP BY 1, 2 ORDER BY 1, 2
"""


async def stored(engine: Engine, *, generation: int = 0, state: str = "waiting") -> str:
    run_id = await engine.queued_run()
    await engine.execute("UPDATE aiki.runs SET generation = %s, state = %s WHERE id = %s", generation, state, run_id)
    return run_id


async def arrived(engine: Engine, run_id: str, seconds: int, taken: int | None, count: int = 1) -> None:
    """Let so many arrivals reach a run so long ago; `taken` is the generation that consumed them."""
    await engine.execute(ARRIVALS, run_id, seconds, taken, count)


async def prune(engine: Engine) -> list[int]:
    """Look until the end is reached and nothing more is found; return what each look deleted that found something."""
    pruner = Pruner(engine.pool)
    deleted = [await pruner.run_once()]
    while deleted[-1] or not pruner.is_over:
        deleted.append(await pruner.run_once())
    return [count for count in deleted if count]


async def test_a_consumed_arrival_is_kept_for_a_day_and_as_long_as_its_generation(engine: Engine) -> None:
    cases = [
        (await stored(engine, generation=1), OLD, 0, 0),
        (await stored(engine, state="completed"), OLD, 0, 0),
        (await stored(engine, state="cancelled"), OLD, 0, 1),
        (await stored(engine, state="failed"), OLD, 0, 1),
        (new_id(), OLD, 0, 0),
        (await stored(engine, generation=1), OLD, 1, 1),
        (await stored(engine, generation=1), FRESH, 0, 1),
        (await stored(engine, state="failed"), FRESH, 0, 1),
        (await stored(engine, generation=1), OLD, None, 1),
        (await stored(engine, state="completed"), OLD, None, 1),
    ]
    for run_id, seconds, taken, _ in cases:
        await arrived(engine, run_id, seconds, taken)
    assert await prune(engine) == [3]
    rows = dict(await engine.execute("SELECT run_id::text, count(*) FROM aiki.inbox GROUP BY 1"))
    assert [rows.get(run_id, 0) for run_id, *_ in cases] == [expected for *_, expected in cases]


@pytest.mark.parametrize(("left", "kept"), [(0, 1), (1, 0)])
async def test_the_end_of_a_child_is_kept_as_long_as_the_journal_that_took_it(
    engine: Engine, left: int, kept: int
) -> None:
    """A replay reads by it what the child has come to, be it years later."""
    run_id = await stored(engine, generation=left, state="completed")
    await arrived(engine, run_id, OLD, 0)
    await engine.execute("UPDATE aiki.inbox SET kind = 'child'")
    await prune(engine)
    assert len(await engine.execute("SELECT number FROM aiki.inbox")) == kept


async def test_what_earlier_generations_left_is_deleted_and_nothing_else(engine: Engine) -> None:
    runs = [await stored(engine, generation=2), await stored(engine, generation=1, state="completed")]
    other = await stored(engine)
    for run_id, generation in [(runs[0], 0), (runs[0], 1), (runs[0], 2), (runs[1], 0), (runs[1], 1), (other, 0)]:
        await engine.execute(LEFT, run_id, generation, 3)
    assert await prune(engine) == [15]
    assert await engine.execute(STANDING) == sorted([(runs[0], 2, 5), (runs[1], 1, 5), (other, 0, 5)])


async def test_the_story_of_a_run_that_has_gone_on_for_long_is_told_from_its_last_generations(engine: Engine) -> None:
    run_id = await engine.queued_run()
    for _ in range(KEPT_GENERATIONS + 4):
        run = await engine.claim_one()
        await engine.record(unit(run.fence, 0, entry("a"), end=onward()))
    await engine.record(unit((await engine.claim_one()).fence, 0, entry("b"), end=onward()))
    fence = (await engine.claim_one()).fence
    await engine.record(unit(fence, 0, entry("c")))
    assert sum(await prune(engine)) == KEPT_GENERATIONS + 5, "what was left by its journals"
    await engine.execute("UPDATE aiki.run_history SET at = at - interval '1 hour'")
    await prune(engine)
    told = (await journal.story(engine.pool, engine.namespace, History(run_id), room=engine.room)).items
    first = 5
    assert [(one.move, one.generation) for one in told] == [
        ("enqueued", first),
        *(("continue", generation) for generation in range(first, first + KEPT_GENERATIONS)),
        ("claim", first + KEPT_GENERATIONS),
        ("entry", first + KEPT_GENERATIONS),
    ]
    assert await engine.execute("SELECT count(*) FROM aiki.generations") == [(KEPT_GENERATIONS,)]
    await engine.record(unit(fence, 1, end=completed()))
    assert await prune(engine) == []


async def test_a_batch_is_all_that_one_statement_deletes(engine: Engine) -> None:
    run_id = await stored(engine, generation=1)
    await arrived(engine, run_id, OLD, 0, 2 * BATCH + 1)
    await engine.execute(LEFT, run_id, 0, 2 * BATCH + 1)
    # Beside a batch of arrivals and one of entries, in the first look the one try and the one count.
    assert await prune(engine) == [2 * BATCH + 2, 2 * BATCH, 2]
    assert await engine.execute("SELECT (SELECT count(*) FROM aiki.inbox), (SELECT count(*) FROM aiki.journal)") == [
        (0, 0)
    ]


async def test_what_has_to_stay_hides_nothing_behind_it(engine: Engine) -> None:
    """More arrivals than a batch, all older, of a run that is still in the generation that took them."""
    await arrived(engine, await stored(engine), OLD + 60, 0, BATCH + 1)
    await arrived(engine, await stored(engine, state="completed"), OLD, 0, 2)
    assert await prune(engine) == [2]


async def test_rows_that_another_holds_are_not_waited_for(engine: Engine) -> None:
    run_id = await stored(engine, generation=1)
    await arrived(engine, run_id, OLD, 0, 3)
    await engine.execute(LEFT, run_id, 0, 3)
    held = (
        "SELECT FROM aiki.inbox i JOIN aiki.journal j ON j.run_id = i.run_id"
        " WHERE i.number = 2 AND j.seq = 2 FOR UPDATE"
    )
    async with locked(engine.database, held):
        assert await prune(engine) == [6]
    assert await prune(engine) == [2]


async def slots_of(engine: Engine, count: int, *, days: int, **columns: str) -> str:
    """Store so many slots of a schedule that is there, the last so many days ago; return its id."""
    schedule = declared(f"s-{uuid.uuid4().hex}")
    await put(engine, schedule)
    given = {"result": "'started'", "is_open": "false"} | columns
    await engine.execute(
        f"INSERT INTO aiki.slots (schedule_id, kind, slot_us, at, {', '.join(given)})"
        f" SELECT %s, 'slot', n, now() - (%s + n) * interval '1 day', {', '.join(given.values())}"
        " FROM generate_series(0, %s - 1) AS n",
        schedule.id,
        days,
        count,
    )
    return schedule.id


async def test_old_slots_go_but_for_the_last_of_each_schedule(engine: Engine) -> None:
    cases = [
        (await slots_of(engine, KEPT_SLOTS + 20, days=0), KEPT_SLOTS),
        (await slots_of(engine, KEPT_SLOTS, days=2 * KEPT_SLOT_DAYS), KEPT_SLOTS),
        (await slots_of(engine, KEPT_SLOTS + 5, days=0, is_open="true"), KEPT_SLOTS + 5),
        (await slots_of(engine, KEPT_SLOTS + 5, days=0, result="'queued'"), KEPT_SLOTS + 5),
    ]
    gone = await slots_of(engine, 7, days=0, is_open="true")
    await engine.execute("DELETE FROM aiki.schedules WHERE id = %s", gone)
    assert sum(await prune(engine)) == 27
    rows = dict(await engine.execute("SELECT schedule_id::text, count(*) FROM aiki.slots GROUP BY 1"))
    assert rows == dict(cases)
    await engine.execute("UPDATE aiki.slots SET at = now() - interval '1 day' WHERE schedule_id = %s", cases[0][0])
    assert await prune(engine) == []


async def test_a_daemon_prunes_by_itself(engine: Engine, nats: Nats) -> None:
    """The batch after the first, too, long before its minute of rest is over."""
    run_id = await stored(engine, generation=1)
    await arrived(engine, run_id, OLD, 0, BATCH + 1)

    async def is_empty() -> bool:
        return await engine.execute("SELECT count(*) FROM aiki.inbox") == [(0,)]

    async with running_app(engine.database, nats.url):
        await wait_until(is_empty, what="the inbox is empty")


async def test_the_ways_to_what_is_pruned_are_indexes(engine: Engine) -> None:
    """However many arrivals and runs there are beside it."""
    async with await psycopg.AsyncConnection.connect(engine.database) as connection:
        await connection.execute("SET enable_seqscan = off")
        for kind in Kind:
            cursor = await connection.execute(f"EXPLAIN {kind.value}".encode(), kind.beginning)
            plan = "\n".join([line async for (line,) in cursor])
            assert WAYS.get(kind, "runs_continued") in plan
            assert "Seq Scan" not in plan
