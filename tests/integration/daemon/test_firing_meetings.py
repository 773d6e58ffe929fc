"""A firing meets another, a change of its schedule, a retry or an end of the run before: each is forced."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from aiki.core.states import State
from aiki.rules.scheduling import PAUSED
from aiki.wire.messages import ApplyReply, ApplySchedules, OrderSchedules, Recorded, Redone
from aikid.engine import schedules
from tests.integration.daemon.engine import Engine, completed, locked, new_id, unit
from tests.integration.daemon.firing import (
    HOUR,
    HOUR_SECONDS,
    Standing,
    backfill,
    declared,
    fire,
    fired,
    info,
    latest,
    put,
    trigger,
)
from tests.integration.daemon.retrying import failed, retried

pytestmark = pytest.mark.anyio
STARTED = ("started", "")
SCHEDULE = "SELECT FROM aiki.schedules FOR UPDATE"
SLOTS = "SELECT FROM aiki.slots FOR UPDATE"
RUNS = "SELECT FROM aiki.runs FOR UPDATE"


async def in_turn(engine: Engine, held: str, *acts: Coroutine[Any, Any, Any]) -> list[Any]:
    """Let acts wait for rows, one after the other, and go on in that order; return what they return."""
    async with locked(engine.database, held) as holder:
        tasks = []
        for count, act in enumerate(acts, 1):
            tasks.append(asyncio.create_task(act))
            await engine.until_waiting(count)
        await holder.commit()
    return [await task for task in tasks]


async def order(engine: Engine, word: Literal["pause", "resume", "delete"]) -> str:
    (reply,) = (await schedules.order(engine.pool, engine.namespace, OrderSchedules(["nightly"], word))).replies
    return reply.outcomes[0].result


async def runs(engine: Engine) -> int:
    ((count,),) = await engine.execute("SELECT count(*) FROM aiki.runs")
    return int(count)


# -- another firing


async def test_two_daemons_fire_each_slot_once(engine: Engine, rival: Engine, clock: Standing) -> None:
    for number in range(300):
        await put(engine, declared(f"s-{number}", overlap="allow"))
    await clock.go_on(HOUR_SECONDS)
    await asyncio.gather(fire(engine), fire(rival), fire(engine), fire(rival))
    assert await engine.execute("SELECT count(*), count(DISTINCT schedule_id) FROM aiki.slots") == [(300, 300)]
    assert await engine.execute("SELECT count(*), count(DISTINCT fired) FROM aiki.runs") == [(300, 300)]


async def test_a_schedule_that_another_daemon_fires_is_passed_over(engine: Engine, clock: Standing) -> None:
    await put(engine, declared())
    await put(engine, declared("other"))
    await clock.go_on(HOUR_SECONDS)
    async with locked(engine.database, "SELECT FROM aiki.schedules WHERE name = 'nightly' FOR UPDATE"):
        assert await fired(engine) == []
        assert await fired(engine, "other") == [STARTED]
    assert await fired(engine) == [STARTED]


async def test_a_slots_row_is_the_permit_for_its_run(engine: Engine, clock: Standing) -> None:
    """Whatever a daemon believes to be undecided: of what stands there nothing starts."""
    await put(engine, declared(overlap="allow"))
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    await engine.execute("UPDATE aiki.schedules SET decided_us = decided_us - 1, due_at = aiki.now()")
    before = await latest(engine)
    await fire(engine)
    assert await latest(engine) == before
    assert await runs(engine) == 1


# -- a change of its schedule


async def test_a_firing_that_a_pause_has_waited_for_stands(engine: Engine, rival: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="allow"))
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    await clock.go_on(HOUR_SECONDS)
    # The firing holds the schedule and waits for the slot of before; the pause waits for the schedule.
    await in_turn(engine, SLOTS, fire(engine), order(rival, "pause"))
    assert await fired(engine) == [STARTED, STARTED]
    assert (await info(engine)).paused
    await clock.go_on(HOUR_SECONDS)
    assert await fired(engine) == [STARTED, STARTED]


async def test_a_firing_reads_what_a_change_before_it_has_decided(engine: Engine, clock: Standing) -> None:
    """It passes over the schedule as long as that is being changed, and then finds nothing due."""
    await put(engine, declared())
    await clock.go_on(HOUR_SECONDS)
    async with locked(engine.database, SCHEDULE) as holder:
        task = asyncio.create_task(put(engine, declared(every=2 * HOUR), update=True))
        await engine.until_waiting()
        assert await fired(engine) == []
        await holder.commit()
    assert (await task).result == "updated"
    assert await runs(engine) == 0
    assert [result for result, _ in await fired(engine)] == ["missed"]


async def test_a_schedule_that_is_deleted_behind_a_firing_leaves_its_run(
    engine: Engine, rival: Engine, clock: Standing
) -> None:
    await put(engine, declared(overlap="allow"))
    for _ in range(2):
        await clock.go_on(HOUR_SECONDS)
        await fire(engine)
    await clock.go_on(HOUR_SECONDS)
    await in_turn(engine, SLOTS, fire(engine), order(rival, "delete"))
    assert await runs(engine) == 3
    await fire(engine)
    assert await runs(engine) == 3


@pytest.mark.parametrize("same", [True, False])
async def test_of_two_that_create_a_schedule_at_once_the_later_finds_it(
    engine: Engine, clock: Standing, same: bool
) -> None:
    schedule = declared()
    standing = (
        "INSERT INTO aiki.schedules (id, namespace, name, workflow, version, input, spec, options, zones, decided_us)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '', 0)"
    )
    spec = b'{"every":%d}' % (HOUR if same else 2 * HOUR)
    given = (str(uuid.uuid4()), engine.namespace, "nightly", schedule.workflow, schedule.version, b"{}", spec, b"{}")
    async with locked(engine.database, standing, *given) as holder:
        task = asyncio.create_task(put(engine, schedule))
        await engine.until_waiting()
        await holder.commit()
    assert (await task).result == ("unchanged" if same else "exists")


async def test_of_two_applies_at_once_the_later_plans_by_what_the_first_has_done(
    engine: Engine, rival: Engine, clock: Standing
) -> None:
    async def apply(on: Engine, *names: str) -> ApplyReply:
        declarations = [replace(declared(name), project="shop") for name in names]
        request = ApplySchedules("shop", declarations)
        done = await schedules.apply(on.pool, on.routes, on.namespace, request, room=on.room)
        (reply,) = done.replies
        assert isinstance(reply, ApplyReply)
        return reply

    await apply(engine, "a")
    first, second = await in_turn(engine, SCHEDULE, apply(engine, "a", "b"), apply(rival, "b"))
    assert [change.action for change in first.changes] == ["unchanged", "create"]
    # It did not see `b` when it was to lock it, but met it when it was to be made, and began anew.
    assert [(change.name, change.action) for change in second.changes] == [("a", "pause"), ("b", "unchanged")]
    assert (await info(engine, "a")).vanished


# -- out of turn


async def test_a_trigger_that_is_repeated_elsewhere_at_once_is_one_run(
    engine: Engine, rival: Engine, clock: Standing
) -> None:
    await put(engine, declared())
    run_id = new_id()
    first, second = await in_turn(engine, SCHEDULE, trigger(engine, id=run_id), trigger(rival, id=run_id))
    assert first == second
    assert [slot.run_id for slot in first.slots] == [run_id]
    assert await runs(engine) == 1


async def test_two_backfills_at_once_fire_each_slot_once(engine: Engine, rival: Engine, clock: Standing) -> None:
    await put(engine, declared())
    span = (clock.now - 3 * HOUR, clock.now)
    first, second = await in_turn(engine, SCHEDULE, backfill(engine, *span), backfill(rival, *span))
    assert first == second
    assert await runs(engine) == 3


async def test_a_trigger_and_a_firing_meet_and_both_fire(engine: Engine, rival: Engine, clock: Standing) -> None:
    await put(engine, declared(overlap="allow"))
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    await clock.go_on(HOUR_SECONDS)
    await in_turn(engine, SLOTS, fire(engine), trigger(rival))
    assert sorted(slot.kind for slot in await latest(engine)) == ["slot", "slot", "trigger"]


# -- the run before


@pytest.mark.parametrize("retry_first", [True, False])
async def test_a_slot_that_waits_meets_the_retry_of_the_run_before(
    engine: Engine, rival: Engine, clock: Standing, retry_first: bool
) -> None:
    await put(engine, declared(overlap="queue"))
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    run = await engine.claim_one()
    await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    await engine.record(unit(run.fence, end=failed()))
    await clock.go_on(1)
    retrying, firing = retried(rival, run.fence.run_id), fire(engine)
    said = await in_turn(engine, SLOTS, *((retrying, firing) if retry_first else (firing, retrying)))
    redone = said[not retry_first]
    assert isinstance(redone, Redone)
    assert redone.result == "retried"
    # Whoever had the slot first: it still waits, or has started before there was a retry.
    assert [slot.result for slot in await latest(engine)] == ["started", "queued" if retry_first else "started"]
    assert (await info(engine)).open == (1 if retry_first else 2)


@pytest.mark.parametrize("end_first", [True, False])
async def test_a_cancel_of_the_run_before_meets_its_own_end(
    engine: Engine, rival: Engine, clock: Standing, end_first: bool
) -> None:
    await put(engine, declared(overlap="cancel_previous"))
    first = await clock.go_on(HOUR_SECONDS)
    await fire(engine)
    run = await engine.claim_one()
    await clock.go_on(HOUR_SECONDS)
    ending, firing = rival.record(unit(run.fence, end=completed())), fire(engine)
    said = await in_turn(engine, RUNS, *((ending, firing) if end_first else (firing, ending)))
    (recorded,) = said[not end_first]
    assert isinstance(recorded, Recorded)
    assert recorded.result == "done"
    assert await engine.state(run.fence.run_id) is State.COMPLETED
    assert [slot.result for slot in await latest(engine)] == ["started", "queued"]
    await clock.go_on(1)
    assert await fired(engine) == [STARTED, STARTED]
    again = await engine.claim_one()
    assert again.fired is not None
    assert again.fired.last_completed == first


async def test_what_a_pause_and_a_resume_leave_meets_no_slot_twice(
    engine: Engine, rival: Engine, clock: Standing
) -> None:
    await put(engine, declared(overlap="allow"))
    await clock.go_on(HOUR_SECONDS)
    await in_turn(engine, SCHEDULE, order(engine, "pause"), order(rival, "resume"))
    assert await fired(engine) == [("missed", PAUSED)]
    assert await runs(engine) == 0
