"""What an export brings of a run is what its next claim would."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import Move, State
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import NULL, Attempt, Claimed, End, Export, Exported, Fence
from aikid.engine import exports
from tests.integration.daemon.engine import (
    Engine,
    completed,
    entry,
    event,
    new_id,
    onward,
    parked,
    running_engine,
    unit,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    async with running_engine(database) as one:
        yield one


async def exported(engine: Engine, *run_ids: str) -> list[Exported]:
    reply = await exports.export(engine.pool, engine.namespace, Export([*run_ids]), room=engine.room)
    assert reply.rest == 0
    return reply.runs


def but_for_its_claim(run: Claimed) -> Claimed:
    return replace(run, fence=Fence(run.fence.run_id, 0, ""), claims=0)


async def test_an_export_brings_what_the_next_claim_does(engine: Engine) -> None:
    run_id = await engine.queued_run(key="k", digest="0" * 32, labels={"tenant": "a"}, priority=3)
    claimed = await engine.claim_one()
    tries = [Attempt("task:b:0:0", 1, Raw(b'{"type":"E","message":"m"}'))]
    await engine.record(unit(claimed.fence, 0, entry("a"), attempts=tries, end=parked(0, "event:approved")))
    await engine.send(event(run_id), event(run_id, "other"))
    (one,) = await exported(engine, run_id)
    again = await engine.claim_one()
    assert one.state is State.QUEUED
    assert but_for_its_claim(one.run) == but_for_its_claim(again)
    assert (len(one.run.entries), len(one.run.attempts), len(one.run.arrivals)) == (1, 1, 2)


async def test_an_export_says_what_a_run_rests_for_while_it_does(engine: Engine) -> None:
    run_id = await engine.queued_run()
    claimed = await engine.claim_one()
    (held,) = await exported(engine, run_id)
    assert (held.state, held.waits, held.due_at) == (State.RUNNING, [], None)
    due = 4_102_444_800_123_457
    end = replace(parked(0, "event:approved", "child"), due_at=due)
    await engine.record(unit(claimed.fence, 0, entry("a"), end=end))
    (rests,) = await exported(engine, run_id)
    assert (rests.state, sorted(rests.waits), rests.due_at) == (State.WAITING, ["child", "event:approved"], due)
    await engine.send(event(run_id))
    (woken,) = await exported(engine, run_id)
    assert (woken.state, woken.waits, woken.due_at) == (State.QUEUED, [], None)


async def test_a_run_that_is_held_is_exported_as_if_its_worker_had_died(engine: Engine) -> None:
    run_id, session = await engine.queued_run(), await engine.session()
    claimed = await engine.claim_one(session)
    await engine.record(unit(claimed.fence, 0, entry("a")))
    (one,) = await exported(engine, run_id)
    assert one.state is State.RUNNING
    await engine.close(session)
    assert but_for_its_claim(one.run) == but_for_its_claim(await engine.claim_one())


async def test_a_run_that_was_never_claimed_begins_with_its_export(engine: Engine) -> None:
    (one,) = await exported(engine, await engine.queued_run())
    reply = await exports.export(engine.pool, engine.namespace, Export([one.run.fence.run_id]), room=engine.room)
    assert (one.run.claims, one.run.length, one.run.entries) == (0, 0, [])
    assert 0 <= reply.now - one.run.started_at < 60_000_000


async def test_of_a_run_that_went_on_the_generation_that_it_is_in_is_exported(engine: Engine) -> None:
    run_id = await engine.queued_run()
    claimed = await engine.claim_one()
    await engine.record(unit(claimed.fence, 0, entry("a"), end=onward()))
    (one,) = await exported(engine, run_id)
    assert (one.run.generation, one.run.entries, bytes(one.run.input)) == (1, [], b'{"n":1}')
    claim = await engine.claim_one()
    assert one.run.first_at == claim.first_at == claimed.started_at
    assert claimed.started_at < one.run.started_at <= claim.started_at


async def test_what_a_run_that_ended_has_left_unread_is_exported(engine: Engine) -> None:
    run_id = await engine.queued_run()
    claimed = await engine.claim_one()
    await engine.send(event(run_id))
    await engine.record(unit(claimed.fence, 0, entry("a"), end=completed()))
    (one,) = await exported(engine, run_id)
    assert (one.state, bytes(one.output)) == (State.COMPLETED, b'"done"')
    assert [arrival.name for arrival in one.run.arrivals] == ["approved"]
    assert one.finished_at is not None


async def test_a_blocked_run_says_why(engine: Engine) -> None:
    run_id = await engine.queued_run()
    claimed = await engine.claim_one()
    await engine.record(unit(claimed.fence, end=End(Move.DIVERGE, why="it diverged")))
    (one,) = await exported(engine, run_id)
    assert (one.state, one.why) == (State.BLOCKED, "it diverged")


async def test_unknown_runs_are_left_out_and_the_others_come_in_the_order_asked(engine: Engine) -> None:
    ids = [await engine.queued_run() for _ in range(3)]
    asked = [new_id(), ids[2], new_id(), ids[0], ids[1], new_id()]
    assert [one.run.fence.run_id for one in await exported(engine, *asked)] == [ids[2], ids[0], ids[1]]
    assert await exported(engine, new_id()) == []
    assert await exported(engine) == []


async def test_a_run_that_is_named_a_thousand_times_is_read_and_told_once(engine: Engine) -> None:
    """All of them together would be a message a thousand times as long, made before it is cut."""
    large = Raw(b'"' + b"x" * 200_000 + b'"')
    ids = [await engine.queued_run(input=large) for _ in range(4)]
    many = [run_id for run_id in ids for _ in range(250)]
    first = await exports.export(engine.pool, engine.namespace, Export(many), room=engine.room)
    count = len(first.runs)
    assert [one.run.fence.run_id for one in first.runs] == ids[:count]
    assert 0 < count < 4
    assert many[len(many) - first.rest] == ids[count]
    assert first.rest == 250 * (4 - count)


async def test_what_does_not_fit_a_message_is_left_for_the_next(engine: Engine) -> None:
    large = Raw(b'"' + b"x" * 200_000 + b'"')
    ids = [await engine.queued_run(input=large) for _ in range(5)]
    left, met = [new_id(), *ids, new_id()], []
    requests = 0
    while left:
        reply = await exports.export(engine.pool, engine.namespace, Export(left), room=engine.room)
        met += [one.run.fence.run_id for one in reply.runs]
        assert len(left) > reply.rest
        left = left[len(left) - reply.rest :] if reply.rest else []
        requests += 1
    assert met == ids
    assert 2 < requests <= 6


async def test_a_run_whose_payloads_fit_no_message_together_comes_without_its_input(engine: Engine) -> None:
    payload = Raw(b'"' + b"x" * 250_000 + b'"')
    run_id = await engine.queued_run(input=payload)
    other = await engine.queued_run()
    first, second = await engine.claim(await engine.session())
    claimed = first if first.fence.run_id == run_id else second
    values = [entry(f"t{number}", Raw(b'"' + b"y" * 100_000 + b'"')) for number in range(3)]
    for number, value in enumerate(values):
        await engine.record(unit(claimed.fence, number, value))
    await engine.record(unit(claimed.fence, 3, end=End(Move.COMPLETE, output=payload)))
    reply = await exports.export(engine.pool, engine.namespace, Export([run_id, other]), room=MESSAGE_BYTES)
    assert [one.run.fence.run_id for one in reply.runs] == [run_id]
    assert reply.rest == 1
    (one,) = reply.runs
    assert (one.run.length, one.run.entries) == (3, [])
    assert bytes(one.output) == bytes(payload)
    narrow = await exports.export(engine.pool, engine.namespace, Export([run_id]), room=300_000)
    assert narrow.runs[0].run.input == NULL
