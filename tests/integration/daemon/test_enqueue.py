"""P1 and P5: what enqueue has returned is kept, and a key is one run."""

import asyncio

import psycopg
import pytest
from msgspec import Raw

from aiki.core.states import State
from aiki.wire.messages import Enqueue, Watch
from tests.integration.daemon.engine import Engine, new_id, new_run

pytestmark = pytest.mark.anyio
ONE, TWO = "1" * 32, "2" * 32


async def test_the_same_id_is_the_same_run(engine: Engine) -> None:
    run = new_run()
    first, second = await engine.enqueue(run), await engine.enqueue(run)
    assert first == second
    assert (first[0].id, first[0].created) == (run.id, True)
    assert await engine.history(run.id) == ["enqueued"]


async def test_the_same_id_twice_in_one_request_is_one_run(engine: Engine) -> None:
    run = new_run()
    assert [one.id for one in await engine.enqueue(run, run)] == [run.id, run.id]


async def test_an_id_of_another_workflow_is_refused(engine: Engine) -> None:
    run = new_run()
    await engine.enqueue(run)
    (refused,) = await engine.enqueue(new_run(id=run.id, workflow="other"))
    assert refused.error is not None
    assert refused.error.code == "conflict"


async def test_a_key_with_the_same_input_is_the_same_run(engine: Engine) -> None:
    first, again = new_run(key="order-1", digest=ONE), new_run(key="order-1", digest=ONE)
    await engine.enqueue(first)
    (known,) = await engine.enqueue(again)
    assert (known.id, known.created, known.error) == (first.id, False, None)


async def test_a_key_with_another_input_is_a_conflict(engine: Engine) -> None:
    first = new_run(key="order-1", digest=ONE)
    await engine.enqueue(first)
    (refused,) = await engine.enqueue(new_run(key="order-1", digest=TWO))
    assert refused.error is not None
    assert (refused.id, refused.error.code) == (first.id, "conflict")
    (existing,) = await engine.enqueue(new_run(key="order-1", digest=TWO, on_conflict="existing"))
    assert (existing.id, existing.created, existing.error) == (first.id, False, None)


async def test_a_key_is_unique_per_workflow_only(engine: Engine) -> None:
    first, other = new_run(key="k", digest=ONE), new_run(key="k", digest=TWO, workflow="other")
    assert [one.created for one in await engine.enqueue(first, other)] == [True, True]


async def test_two_daemons_given_the_same_key_at_once_make_one_run(engine: Engine, rival: Engine) -> None:
    runs = [new_run(key=f"k{n % 5}", digest=ONE) for n in range(40)]
    replies = await asyncio.gather(*((engine, rival)[n % 2].enqueue(run) for n, run in enumerate(runs)))
    assert len({one.id for (one,) in replies}) == 5
    assert (await engine.execute("SELECT count(*) FROM aiki.runs"))[0][0] == 5


async def test_batches_that_hold_the_same_keys_in_opposite_orders_both_end(engine: Engine, rival: Engine) -> None:
    forth = [new_run(key=f"k{n}", digest=ONE) for n in range(50)]
    back = [new_run(key=f"k{n}", digest=ONE) for n in reversed(range(50))]
    await asyncio.gather(engine.enqueue(*forth), rival.enqueue(*back))
    assert (await engine.execute("SELECT count(*) FROM aiki.runs"))[0][0] == 50


async def keys(engine: Engine) -> list[tuple[str, str]]:
    return await engine.execute("SELECT key, run_id::text FROM aiki.keys ORDER BY key")


async def test_of_a_key_that_occurs_twice_in_one_request_one_run_is_made(engine: Engine) -> None:
    first, second = sorted((new_run(key="k", digest=ONE), new_run(key="k", digest=ONE)), key=lambda run: run.id)
    made, known = await engine.enqueue(first, second)
    assert (made.id, made.created, known.id, known.created) == (first.id, True, first.id, False)
    assert await keys(engine) == [("k", first.id)]


async def test_a_run_whose_id_is_taken_takes_no_key(engine: Engine) -> None:
    """Neither in the request that made it nor in a later one: the key is there for another run."""
    run_id = new_id()
    made, refused = await engine.enqueue(
        new_run(id=run_id, key="a", digest=ONE), new_run(id=run_id, key="b", digest=ONE)
    )
    assert made.error is None
    assert refused.error is not None
    (late,) = await engine.enqueue(new_run(id=run_id, key="c", digest=ONE))
    assert late.error is not None
    assert late.error.code == "conflict"
    assert await keys(engine) == [("a", run_id)]


TAKE_ID = """
INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input)
VALUES (%(id)s, %(id)s, 'default', 'flow', '1.0', 'queued', '{}')
"""
TAKE_KEY = """
WITH held AS (
  INSERT INTO aiki.keys (namespace, workflow, key, run_id, digest) VALUES ('default', 'flow', 'k', %(id)s, %(digest)s)
)
INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, input, key, digest)
VALUES (%(id)s, %(id)s, 'default', 'flow', '1.0', 'queued', '{}', 'k', %(digest)s)
"""


async def test_a_run_whose_id_is_taken_while_it_is_stored_leaves_no_key_behind(engine: Engine) -> None:
    """Its key went in before: the statement sees that it has no run, is undone whole and repeated."""
    run = new_run(key="k", digest=ONE)
    async with await psycopg.AsyncConnection.connect(engine.database) as other:
        await other.execute(TAKE_ID, {"id": run.id})
        enqueuing = asyncio.create_task(engine.enqueue(run))
        await engine.until_waiting()
        await other.commit()
    (refused,) = await enqueuing
    assert refused.error is not None
    assert refused.error.code == "conflict"
    assert await keys(engine) == []
    (made,) = await engine.enqueue(new_run(key="k", digest=ONE))
    assert made.created


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_key_that_another_is_taking_is_waited_for(engine: Engine, is_kept: bool) -> None:
    first, second = new_id(), new_run(key="k", digest=ONE)
    async with await psycopg.AsyncConnection.connect(engine.database) as other:
        await other.execute(TAKE_KEY, {"id": first, "digest": ONE})
        enqueuing = asyncio.create_task(engine.enqueue(second))
        await engine.until_waiting()
        await (other.commit() if is_kept else other.rollback())
    (answer,) = await enqueuing
    holder = first if is_kept else second.id
    assert (answer.id, answer.created, answer.error) == (holder, not is_kept, None)
    assert await keys(engine) == [("k", holder)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"id": "1"}, "usage"),
        ({"id": "0" * 32}, "usage"),
        ({"workflow": "no dots.here"}, "usage"),
        ({"workflow": ""}, "usage"),
        ({"version": "x" * 33}, "usage"),
        ({"priority": 101}, "usage"),
        ({"key": "a\0b", "digest": ONE}, "usage"),
        ({"key": "k"}, "usage"),
        ({"key": "k", "digest": "zz"}, "usage"),
        ({"labels": {"a": "b\0"}}, "usage"),
        ({"labels": {f"l{n}": "" for n in range(21)}}, "usage"),
        ({"start_at": 1, "delay": 1}, "usage"),
        ({"start_at": 1 << 62}, "usage"),
        ({"delay": -1}, "usage"),
        ({"input": Raw(b'"\xff"')}, "payload"),
        ({"input": Raw(b'{"\xff":1}')}, "payload"),
        ({"input": Raw(b'{"a":[1e999]}')}, "payload"),
        ({"input": Raw(b"1" * 5_000)}, "payload"),
        ({"input": Raw(b"[" * 201 + b"]" * 201)}, "payload"),
        ({"input": Raw(b'"' + b"x" * (256 * 1024) + b'"')}, "payload"),
    ],
)
async def test_a_bad_run_is_refused_and_its_neighbours_are_kept(
    engine: Engine, fields: dict[str, object], code: str
) -> None:
    good = new_run()
    refused, kept = await engine.enqueue(new_run(**fields), good)
    assert refused.error is not None
    assert (refused.error.code, kept.error) == (code, None)
    assert await engine.state(good.id) is State.QUEUED


async def test_brackets_inside_text_are_not_nesting(engine: Engine) -> None:
    assert (await engine.enqueue(new_run(input=Raw(b'"' + b'[\\"' * 500 + b'"'))))[0].error is None


async def test_payloads_come_back_byte_for_byte(engine: Engine) -> None:
    raw = b'{"b": 1.50e+300, "a": "\\u0000 \xc3\xbc", "n": 123456789012345678901234567890, "b": 2}'
    await engine.queued_run(input=Raw(raw))
    assert bytes((await engine.claim_one()).input) == raw


async def test_a_delayed_run_waits_until_it_is_due(engine: Engine) -> None:
    later = await engine.queued_run(delay=3_600_000_000)
    past = await engine.queued_run(start_at=1)
    assert (await engine.state(later), await engine.state(past)) == (State.SCHEDULED, State.QUEUED)
    assert await engine.wake() == []
    await engine.execute("UPDATE aiki.runs SET due_at = now() WHERE id = %s", later)
    assert await engine.wake() == [later]
    assert await engine.history(later) == ["enqueued", "due"]


async def test_what_is_told_of_new_runs_is_what_the_statement_did(engine: Engine) -> None:
    """A delay of nothing and a start that has passed are queued at once; so they are hinted, and watched as such."""
    at_once = [new_run(), new_run(delay=0), new_run(start_at=1)]
    later = [new_run(delay=3_600_000_000), new_run(start_at=32_503_680_000_000_000)]
    known = new_run()
    await engine.enqueue(known)
    await engine.claim_one()
    for run in (known, *at_once, *later):
        engine.watchers.watch("default", Watch([run.id], "_INBOX.x", 60.0))
    runs = [*at_once, *later, known, at_once[0]]
    done = await engine.carry_out(Enqueue(runs))
    assert done.changes.queued == {("default", "flow", "1.0"): 3}
    (born,) = done.changes.born
    assert born.others == {run.id for run in (*later, known)}
    assert [await engine.state(run.id) for run in at_once] == [State.QUEUED] * 3
    assert 3599 < (done.changes.due_seconds or 0) <= 3600
    engine.watchers.born("default", runs, born.now, born.others)
    watched = {run_id: one.status for (_, run_id), one in engine.watchers._runs.items()}
    assert {run_id for run_id, status in watched.items() if status is not None} == {run.id for run in at_once}


async def test_a_repeat_tells_again_of_a_run_that_still_waits(engine: Engine) -> None:
    """Whoever carried out the first may have died between its commit and its hint."""
    waits, runs, later = new_run(), new_run(priority=1), new_run(delay=3_600_000_000)
    await engine.enqueue(waits, runs, later)
    assert (await engine.claim_one()).fence.run_id == runs.id
    again = Enqueue([waits, runs, later])
    done = await engine.carry_out(again)
    assert done.changes.queued == {("default", "flow", "1.0"): 1}


@pytest.mark.parametrize(
    "fields", [{"version": "2.0"}, {"input": Raw(b'{"n":1}')}, {"workflow": "other"}, {"key": "b"}]
)
async def test_a_known_id_with_anything_else_is_a_conflict(engine: Engine, fields: dict[str, object]) -> None:
    given: dict[str, object] = {"key": "a", "digest": ONE}
    run = new_run(**given)
    other = new_run(**{**given, "id": run.id, **fields})
    (made, refused) = await engine.enqueue(run, other)
    assert made.error is None
    for answer in (refused, *await engine.enqueue(other)):
        assert answer.error is not None
        assert (answer.id, answer.error.code) == (run.id, "conflict")
        assert str(next(iter(fields))) in answer.error.message
    (repeated,) = await engine.enqueue(new_run(**given, id=run.id, priority=7))
    assert (repeated.id, repeated.created, repeated.error) == (run.id, True, None)
    assert await engine.history(run.id) == ["enqueued"]


async def test_another_namespace_cannot_see_the_run(engine: Engine) -> None:
    run_id = await engine.queued_run()
    engine.namespace = "elsewhere"
    (refused,) = await engine.enqueue(new_run(id=run_id))
    assert refused.error is not None
    assert await engine.claim(await engine.session()) == []


async def test_a_route_is_told_of_once(engine: Engine) -> None:
    await engine.enqueue(new_run(), new_run())
    await engine.enqueue(new_run(id=new_id()))
    assert engine.met == [("default", "flow", "1.0")]
