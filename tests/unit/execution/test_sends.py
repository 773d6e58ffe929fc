"""Events that a run sends: once, under its fence, and with an outcome that replays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiki.core.errors import RunEnded, SendFailed
from aiki.core.ids import derived_id
from aiki.core.states import Move
from aiki.definitions.workflow import Workflow, workflow
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Recorded, Unit
from tests.unit.execution.bodies import failure_of
from tests.unit.execution.replays import again, double, output, slow
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

OTHER = "0190b0a0-0000-7000-8000-000000000002"
NOBODY = "0190b0a0-0000-7000-8000-000000000003"
approved, voted = Event("approved", type=str), Event("voted", type=int)


@workflow(name="hears", version="1")
async def hears(run: WorkflowRun) -> list[str]:
    return [await run.wait_for(approved), await run.wait_for(approved)]


@workflow(name="silent", version="1")
async def silent(run: WorkflowRun) -> None: ...


def pair(sender: Workflow[Any, Any], hearer: Workflow[Any, Any] = hears, **options: Any) -> tuple[World, World]:
    """Run both to their ends, the hearer first if it ends by itself."""

    async def main() -> tuple[World, World]:
        runs: dict[str, World] = {}
        other = World(hearer, run_id=OTHER, runs=runs)
        world = World(sender, runs=runs, **options)
        if hearer is silent:
            await other.finish()
            await world.finish()
        else:
            await asyncio.gather(world.finish(), other.finish())
        return world, other

    return simulate(main())


def test_what_a_run_sends_reaches_the_other_and_its_replay_sends_nothing() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> str:
        await run.send(OTHER, approved, "a")
        await run.send(OTHER, approved, "b")
        return "sent"

    world, other = pair(sends)
    assert (output(world), output(other)) == ('"sent"', '["a","b"]')
    ops = [op for unit in world.units for op in unit.ops]
    ids = [derived_id(world.run_id, 0, 1, entry.key, milliseconds=0)[14:] for entry in world.journal]
    assert [op.id[14:] for op in ops] == ids, "an id is derived from origin, generation, attempt and key"
    assert [entry.takes for entry in world.journal] == [(1,), (2,)]
    repeated = again(world)
    assert output(repeated) == '"sent"'
    assert not any(unit.ops for unit in repeated.units)


def test_a_send_shares_its_commit_with_what_was_recorded_before_it() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> None:
        number = await double.run(run, 1)
        await run.send(OTHER, approved, str(number))
        await run.send(OTHER, approved, "b")

    world, _ = pair(sends)
    assert [len(unit.entries) for unit in world.units if unit.ops] == [1, 1]


def test_a_send_to_oneself_is_taken_like_any_other() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> str:
        await run.send(run.run_id, approved, "me")
        return await run.wait_for(approved)

    async def main() -> World:
        world = World(sends)
        await world.finish()
        return world

    world = simulate(main())
    assert output(world) == '"me"'
    assert output(again(world)) == '"me"'


@pytest.mark.parametrize("lost", [False, True], ids=["its commit stood", "its commit was lost"])
def test_a_crash_while_a_send_is_on_its_way_sends_it_once(lost: bool) -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> str:
        await run.send(OTHER, approved, "a")
        await run.send(OTHER, approved, "b")
        return "sent"

    async def main() -> tuple[World, World]:
        runs: dict[str, World] = {}
        other, world = World(hears, run_id=OTHER, runs=runs), World(sends, runs=runs)
        ending = asyncio.create_task(other.finish())
        world.claim()
        unit, world._pending = world._pending, None
        assert unit is not None
        if not lost:
            world.write(unit)
        world.crash()
        await world.finish()
        await ending
        return world, other

    world, other = simulate(main())
    assert (output(world), output(other)) == ('"sent"', '["a","b"]')
    assert output(again(world)) == '"sent"'


def test_a_send_to_a_run_that_has_ended_says_how_it_ended() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> list[str]:
        try:
            await run.send(OTHER, approved, "late")
        except RunEnded as error:
            return [str(error), str(error.state), error.result]
        return []

    world, other = pair(sends, silent)
    assert other.ends == [Move.COMPLETE]
    message = f"run {OTHER} did not take event 'approved': it has ended (completed)"
    assert output(world) == f'["{message}","completed","ended"]'
    assert output(again(world)) == output(world)


def test_a_send_to_nobody_and_a_key_with_another_value_fail() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> list[str]:
        results = []
        for target, key, text in ((NOBODY, None, "x"), (OTHER, "k", "a"), (OTHER, "k", "a"), (OTHER, "k", "b")):
            try:
                await run.send(target, approved, text, idempotency_key=key)
                results.append("taken")
            except SendFailed as error:
                results.append(error.result)
        await run.send(OTHER, approved, "end")
        return results

    world, other = pair(sends)
    assert output(world) == '["unknown","taken","taken","conflict"]'
    assert output(other) == '["a","end"]'


def test_the_outcome_of_a_send_comes_while_later_entries_are_in_flight() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> list[Any]:
        return list(await asyncio.gather(run.send(OTHER, approved, "a"), double.run(run, 4), run.sleep("1s")))

    @workflow(name="hears", version="1")
    async def hears_once(run: WorkflowRun) -> str:
        return await run.wait_for(approved)

    world, other = pair(sends, hears_once, latency=(0.3,))
    assert (output(world), output(other)) == ("[null,8,null]", '"a"')
    assert output(again(world)) == output(world)


def test_a_worker_that_drains_leaves_a_send_to_the_next_claim() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> str:
        await slow.run(run, 1)
        await run.send(OTHER, approved, "a")
        return "sent"

    async def main() -> World:
        runs: dict[str, World] = {}
        other, world = World(hears, run_id=OTHER, runs=runs), World(sends, runs=runs)
        execution = world.claim()
        await asyncio.sleep(1)
        execution.drain()
        await world.settle()
        assert (world.ends, len(world.journal), other.inbox.arrivals) == ([Move.RELEASE], 1, [])
        await world.finish()
        assert len(other.inbox.arrivals) == 1
        return world

    assert output(simulate(main())) == '"sent"'


def test_a_refused_unit_fails_the_run_with_its_reason() -> None:
    @workflow(name="sends", version="1")
    async def sends(run: WorkflowRun) -> None:
        await run.send(OTHER, approved, "a")

    def refuse(unit: Unit) -> Recorded | None:
        return Recorded("refused", "no such thing") if unit.ops else None

    async def main() -> World:
        world = World(sends)
        world.before_record = refuse
        await world.finish()
        return world

    world = simulate(main())
    assert world.end is not None
    assert b"no such thing" in bytes(world.end.error)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda run: run.send("me", approved, "x"), "'me', which is not the id of a run"),
        (lambda run: run.send(OTHER, "approved", "x"), "a value of type str where an event belongs"),
        (lambda run: run.send(OTHER, voted, "x"), "event 'voted': "),
        (lambda run: run.send(OTHER, voted), "event 'voted': "),
        (lambda run: run.send(OTHER, voted, 1, idempotency_key=""), "idempotency_key="),
    ],
)
def test_what_cannot_be_sent_is_refused(call: Callable[[WorkflowRun], Any], why: str) -> None:
    async def body(run: WorkflowRun) -> None:
        await call(run)

    assert why in failure_of(body)
