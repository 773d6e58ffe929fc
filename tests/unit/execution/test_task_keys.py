"""Tasks whose keys other runs may have, too: each meeting of what is asked, told, given up and cut off, forced."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiki.core.errors import Conflict, TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import Move, State
from aiki.definitions.task import task
from aiki.definitions.workflow import Workflow, workflow
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.testing.memory import sessions
from aiki.wire.messages import Unit
from tests.unit.execution.replays import output
from tests.worlds.claims import SESSION
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

tried: list[tuple[str, str]] = []
"""Which run began a try, and with which key for the task's own services."""


@task(idempotency_scope="workflow", cancel_grace="2s")
async def charge(order: str, seconds: float = 1.0) -> str:
    tried.append((task_run().run_id[-1], task_run().idempotency_key))
    await asyncio.sleep(seconds)
    return f"{order} by {task_run().run_id[-1]}"


@workflow(name="buys", version="1")
async def buys(run: WorkflowRun) -> str:
    return await charge.options(idempotency_key="k").run(run, "o")


Act = Callable[[list[World]], Awaitable[Any]]


def lived(*flows: Workflow[Any, Any], act: Act | None = None, **options: Any) -> list[World]:
    """Run workflows to their ends, each in a world of its own that begins a tenth of a second after the one before."""
    tried.clear()

    async def one(world: World, number: int) -> None:
        await asyncio.sleep(number / 10)
        await world.finish()

    async def main() -> list[World]:
        runs: dict[str, World] = {}
        worlds = [
            World(flow, run_id=f"0190b0a0-0000-7000-8000-00000000000{n}", runs=runs, seed=n, **options)
            for n, flow in enumerate(flows, 1)
        ]
        lives = [asyncio.create_task(one(world, number)) for number, world in enumerate(worlds)]
        if act is not None:
            await act(worlds)
        await asyncio.gather(*lives)
        return worlds

    return simulate(main())


def wants(world: World) -> list[list[str]]:
    """Return what each unit of a run wanted of its key, those that wanted nothing left out."""
    return [[ask.want for ask in unit.keys] for unit in world.units if unit.keys]


def at(seconds: float, do: Callable[[list[World]], Any]) -> Act:
    """Do something at this time."""

    async def act(worlds: list[World]) -> None:
        await asyncio.sleep(seconds)
        do(worlds)

    return act


def test_one_is_tried_and_the_others_get_its_result_in_one_commit_more() -> None:
    worlds = lived(buys, buys, buys)
    assert [output(world) for world in worlds] == ['"o by 1"'] * 3
    assert len(tried) == 1
    assert wants(worlds[0]) == [["own"], ["done"]]
    assert [len(unit.entries) for unit in worlds[0].units] == [0, 1], "the result goes with its key, and with the end"
    assert wants(worlds[1]) == [["own"], ["own"]]
    assert [entry.takes for entry in worlds[1].journal] == [(1,)], "the word is read by the entry of its call"


def test_what_the_task_sees_is_made_of_namespace_workflow_task_and_key() -> None:
    lived(buys, buys, act=at(0.5, lambda worlds: worlds[0].cancel()))
    assert [run for run, _ in tried] == ["1", "2"]
    assert {key for _, key in tried} == {"80c0b313ed146355c56aa5f6c23352b3"}  # workflow:default:buys:task:charge@k

    @workflow(name="another", version="1")
    async def another(run: WorkflowRun) -> str:
        return await charge.options(idempotency_key="k", idempotency_scope="namespace").run(run, "o")

    lived(another)
    assert {key for _, key in tried} == {"9d53eaff5a7514e0f2d83411b8210e3b"}  # namespace:default:task:charge@k


def test_calls_in_a_row_cost_a_commit_more_at_the_first_alone() -> None:
    @workflow(name="row", version="1")
    async def row(run: WorkflowRun) -> list[str]:
        return [await charge.options(idempotency_key=key).run(run, key) for key in "abc"]

    (world,) = lived(row)
    assert wants(world) == [["own"], ["done", "own"], ["done", "own"], ["done"]]
    assert len(world.units) == 4


def test_a_task_that_has_failed_is_given_back_with_its_failure() -> None:
    @workflow(name="fails", version="1")
    async def fails(run: WorkflowRun) -> str:
        try:
            return await charge.options(idempotency_key="k", total_timeout="500ms").run(run, "o", 1.0)
        except TaskFailed as error:
            return error.type

    worlds = lived(fails, fails)
    assert [output(world) for world in worlds] == ['"TotalTimeout"'] * 2
    assert [run for run, _ in tried] == ["1", "2"], "what it has waited is none of the task's time"
    assert wants(worlds[0]) == [["own"], ["free"]]


def test_another_input_is_a_conflict_that_names_the_other_run_and_replays() -> None:
    @workflow(name="buys", version="1")
    async def other(run: WorkflowRun) -> str:
        try:
            await charge.options(idempotency_key="k").run(run, "another")
        except Conflict as error:
            await run.sleep("1h")
            return str(error.message)
        return "none"

    worlds = lived(buys, other)
    assert f"in run {worlds[0].run_id} of this workflow" in output(worlds[1])
    assert Move.SLEEP in worlds[1].ends


def test_a_call_that_is_given_up_while_its_key_is_asked_for_gives_it_back_unseen() -> None:
    @workflow(name="buys", version="1")
    async def gives_up(run: WorkflowRun) -> str:
        call = asyncio.ensure_future(charge.options(idempotency_key="k").run(run, "o"))
        await run.sleep("50ms")
        call.cancel()
        await run.sleep("1s")
        return "gave up"

    worlds = lived(gives_up, buys, latency=(0.06,))
    assert (output(worlds[0]), output(worlds[1])) == ('"gave up"', '"o by 2"')
    assert [run for run, _ in tried] in (["2"], ["1", "2"])
    assert wants(worlds[0])[:2] == [["own"], ["free"]]


def test_who_only_waits_and_gives_up_is_told_of_nothing_more() -> None:
    @workflow(name="buys", version="1")
    async def impatient(run: WorkflowRun) -> str:
        try:
            async with asyncio.timeout(0.2):
                return await charge.options(idempotency_key="k").run(run, "o")
        except TimeoutError:
            await run.sleep("5s")
            return "gave up"

    worlds = lived(buys, impatient)
    assert output(worlds[1]) == '"gave up"'
    assert wants(worlds[1]) == [["own"], ["free"]]
    assert worlds[1].inbox.news == 0


def test_a_try_that_outlives_its_cancel_holds_its_key_until_it_has_ended() -> None:
    over: list[float] = []

    @task(name="charge", idempotency_scope="workflow", cancel_grace="10s")
    async def stubborn(order: str, seconds: float = 1.0) -> str:
        tried.append((task_run().run_id[-1], task_run().idempotency_key))
        try:
            await asyncio.sleep(5)
        finally:
            if len(tried) == 1:
                await asyncio.sleep(3)
            over.append(asyncio.get_running_loop().time())
        return "never"

    begun: list[float] = []

    @workflow(name="buys", version="1")
    async def gives_up(run: WorkflowRun) -> str:
        try:
            async with asyncio.timeout(1):
                return await stubborn.options(idempotency_key="k").run(run, "o")
        except TimeoutError:
            return "gave up"

    @workflow(name="buys", version="1")
    async def next_one(run: WorkflowRun) -> str:
        result = await charge.options(idempotency_key="k").run(run, "o")
        begun.append(asyncio.get_running_loop().time())
        return result

    worlds = lived(gives_up, next_one)
    assert (output(worlds[0]), output(worlds[1])) == ('"gave up"', '"o by 2"')
    assert wants(worlds[0]) == [["own"], ["left"], ["free"]] or wants(worlds[0]) == [["own"], ["free"]]
    assert worlds[0].ended_at >= over[0] * 1_000_000, "its claim has waited for the end of the try"
    assert len(tried) == 2


def test_a_try_that_never_ends_is_left_with_its_key_when_its_grace_is_over() -> None:
    gate = threading.Event()

    @task(name="charge", idempotency_scope="workflow", cancel_grace="2s")
    def hangs(order: str, seconds: float = 1.0) -> str:
        tried.append((task_run().run_id[-1], ""))
        gate.wait()
        return "never"

    @workflow(name="buys", version="1")
    async def gives_up(run: WorkflowRun) -> str:
        try:
            async with asyncio.timeout(60):
                return await hangs.options(idempotency_key="k").run(run, "o")
        except TimeoutError:
            return "gave up"

    async def act(worlds: list[World]) -> None:
        while not tried:  # a thread begins in real time, of which each turn here takes some
            await asyncio.sleep(0.001)
            time.sleep(0.001)  # noqa: ASYNC251
        await asyncio.sleep(120)
        assert [run for run, _ in tried] == ["1"], "nobody else starts while it may run"
        assert worlds[1].state is State.WAITING
        worlds[0].house.do(lambda: lose(worlds[0]))

    try:
        worlds = lived(gives_up, buys, act=act)
    finally:
        gate.set()
    assert wants(worlds[0]) == [["own"], ["left"]]
    assert worlds[0].ended_at - worlds[0].started >= 62_000_000
    assert output(worlds[1]) == '"o by 2"'


def pause_a_while(world: World) -> None:
    def resume() -> None:
        world.resume()

    world.pause()
    world.later(resume, seconds=20)


def lose(world: World) -> None:
    """End the session in which a run has left a try."""
    sessions.lose(world.store, SESSION.format(world.run_id, world.epoch))


def test_a_pause_hands_on_what_has_not_begun_and_waits_for_what_has() -> None:
    async def act(worlds: list[World]) -> None:
        await asyncio.sleep(0.5)
        worlds[0].pause()
        await asyncio.sleep(2)
        assert output(worlds[1]) == '"o by 1"'
        worlds[0].resume()

    worlds = lived(buys, buys, act=act)
    assert [output(world) for world in worlds] == ['"o by 1"'] * 2
    assert len(tried) == 1


def test_a_try_that_is_given_up_while_its_run_is_to_be_paused_gives_its_key_back() -> None:
    @workflow(name="buys", version="1")
    async def impatient(run: WorkflowRun) -> str:
        try:
            async with asyncio.timeout(1):
                return await charge.options(idempotency_key="k").run(run, "o", 5.0)
        except TimeoutError:
            return "gave up"

    @workflow(name="buys", version="1")
    async def patient(run: WorkflowRun) -> str:
        return await charge.options(idempotency_key="k").run(run, "o", 5.0)

    worlds = lived(impatient, patient, act=at(0.9, lambda worlds: pause_a_while(worlds[0])))
    assert [output(world) for world in worlds] == ['"gave up"', '"o by 2"']
    assert wants(worlds[0])[-1] == ["free"]


def test_a_crash_inside_hands_on_and_the_first_one_gets_the_others_result() -> None:
    async def act(worlds: list[World]) -> None:
        await asyncio.sleep(0.5)
        worlds[0].random.seed(1)
        worlds[0].crash()

    worlds = lived(buys, buys, act=act)
    outputs = {output(world) for world in worlds}
    assert len(outputs) == 1
    assert len(tried) == 2
    assert len({key for _, key in tried}) == 1


def test_a_cancel_that_comes_while_the_key_is_asked_for_tries_nothing() -> None:
    async def act(worlds: list[World]) -> None:
        world = worlds[0]

        def cancel_first(unit: Unit) -> None:
            execution = world.execution
            if unit.keys and execution is not None and not world.inbox.news:
                world.cancel()
                execution.on_inbox(world.run.inbox.page(0))

        world.before_record = cancel_first

    worlds = lived(buys, buys, act=act)
    assert worlds[0].state is State.CANCELLED
    assert output(worlds[1]) == '"o by 2"'
    assert [run for run, _ in tried] == ["2"]
    assert wants(worlds[0]) == [["own"], ["free"]]


def test_a_worker_that_drains_asks_for_nothing_more_and_the_next_claim_does() -> None:
    async def act(worlds: list[World]) -> None:
        await asyncio.sleep(0.01)
        execution = worlds[0].execution
        assert execution is not None
        execution.drain()

    worlds = lived(buys, act=act, latency=(0.05,))
    assert output(worlds[0]) == '"o by 1"'
    assert wants(worlds[0]) == [["own"], ["own"], ["done"]]
    assert worlds[0].ends[0] is Move.RELEASE


def test_a_key_that_was_won_unheard_is_asked_for_again_by_the_next_claim() -> None:
    async def act(worlds: list[World]) -> None:
        await asyncio.sleep(0.02)
        worlds[0].random.random = lambda: 0.0  # type: ignore[method-assign]  # what is on its way is written
        worlds[0].crash()
        assert wants(worlds[0]) == [["own"]]

    worlds = lived(buys, buys, act=act, latency=(0.05,))
    assert {output(world) for world in worlds} == {'"o by 1"'}
    assert wants(worlds[0]) == [["own"], ["own"], ["done"]]


def test_a_run_that_is_tried_again_later_holds_no_key_until_then() -> None:
    """It rests as one does whose task is due again: that no try is to follow, its own word alone says."""
    shared = charge.options(idempotency_key="k", idempotency_scope="namespace")

    @task(retry=Retry.none())
    async def fails_once() -> None:
        await asyncio.sleep(0.5)
        if len(tried) == 1:
            raise ValueError("it fails")

    @workflow(name="fails_beside", version="1", retry=Retry.fixed(2, "1h"))
    async def fails_beside(run: WorkflowRun) -> str:
        said, _ = await asyncio.gather(shared.run(run, "o"), fails_once.run(run))
        return said

    @workflow(name="another", version="1")
    async def another(run: WorkflowRun) -> str:
        return await shared.run(run, "o")

    def is_over(worlds: list[World]) -> None:
        assert [world.state for world in worlds] == [State.RETRYING, State.COMPLETED]

    worlds = lived(fails_beside, another, act=at(10, is_over))
    assert [output(world) for world in worlds] == ['"o by 2"'] * 2
    assert wants(worlds[0]) == [["own"], ["free"], ["own"]]
    assert [run for run, _ in tried] == ["1", "2"]


def test_what_is_asked_for_behind_a_recorded_outcome_waits_for_the_whole_replay() -> None:
    @workflow(name="late", version="1")
    async def late(run: WorkflowRun) -> list[str]:
        async def second() -> str:
            return await charge.options(idempotency_key="k").run(run, "o")

        _, other = await asyncio.gather(run.sleep("1h"), second())
        return [other, await charge.options(idempotency_key="k2").run(run, "p")]

    worlds = lived(late)
    assert output(worlds[0]) == '["o by 1","p by 1"]'
    assert wants(worlds[0]) == [["own"], ["done"], ["own"], ["done"]]


def test_a_hundred_wait_for_one() -> None:
    async def main() -> list[World]:
        runs: dict[str, World] = {}
        worlds = [World(buys, run_id=f"0190b0a0-0000-7000-8000-{n:012}", runs=runs, seed=n) for n in range(1, 101)]
        await asyncio.gather(*[world.finish() for world in worlds])
        return worlds

    tried.clear()
    worlds = simulate(main())
    assert len({output(world) for world in worlds}) == 1
    assert len(tried) == 1
