"""Scenarios of workers that die: what was recorded stands, and what was not is done once more."""

from __future__ import annotations

import asyncio

from aiki import Event, State, WorkflowRun, task, task_run, workflow
from tests.conformance.answers import entries, moves, state
from tests.conformance.stage import Stage, scenario
from tests.waiting import wait_until

go = Event("go", type=str)
begun: list[str] = []
gates: dict[str, asyncio.Event] = {}


def gated(*names: str) -> None:
    begun.clear()
    gates.clear()
    gates.update({name: asyncio.Event() for name in names})


@task
async def act(name: str) -> str:
    begun.append(name)
    if name in gates:
        await gates[name].wait()
    return name


@task
async def keyed() -> str:
    begun.append(task_run().idempotency_key)
    if len(begun) == 1:
        await asyncio.Event().wait()
    return "done"


@workflow
async def line(run: WorkflowRun) -> list[str]:
    got = [await act.run(run, "a")]
    got.append(await run.wait_for(go))
    got.append(await act.run(run, "b"))
    await run.sleep("1h")
    return [*got, await act.run(run, "c")]


@scenario(line, shows=("crash.not-again",))
async def a_crash_at_each_await_repeats_the_task_that_ran_and_nothing_else(stage: Stage) -> None:
    gated("a", "b", "c")
    handle = await stage.client.enqueue(line.bind())
    await wait_until(lambda: begun == ["a"])
    await stage.crash_worker()
    await wait_until(lambda: begun == ["a", "a"])
    gates["a"].set()
    await stage.settle()
    await stage.crash_worker()
    await handle.send(go, "x")
    await wait_until(lambda: begun[2:] == ["b"])
    await stage.crash_worker()
    gates["b"].set()
    await stage.settle()
    assert begun == ["a", "a", "b", "b"]
    await stage.crash_worker()
    gates["c"].set()
    await stage.advance("1h")
    assert await handle.result() == ["a", "x", "b", "c"]
    assert begun == ["a", "a", "b", "b", "c"]
    assert await entries(stage.client, handle.run_id) == ["task:act", "event:go", "task:act", "timer", "task:act"]


@workflow
async def paying(run: WorkflowRun) -> str:
    return await keyed.run(run)


@scenario(paying, shows=("crash.key",))
async def a_task_that_is_done_again_has_its_first_key(stage: Stage) -> None:
    begun.clear()
    handle = await stage.client.enqueue(paying.bind())
    await wait_until(lambda: len(begun) == 1)
    await stage.crash_worker()
    await stage.settle()
    assert await handle.result() == "done"
    assert len(begun) == 2
    assert len(set(begun)) == 1


@workflow
async def hanging(run: WorkflowRun) -> str:
    return await act.run(run, "never")


@scenario(hanging, shows=("crash.back-off",))
async def a_run_that_goes_on_killing_workers_waits_before_it_goes_on(stage: Stage) -> list[str]:
    gated("never")
    handle = await stage.client.enqueue(hanging.bind())
    for crash in (1, 2):
        await wait_until(lambda crash=crash: len(begun) == crash)  # type: ignore[misc]
        await stage.crash_worker()
    assert await state(handle) is State.RETRYING
    gates["never"].set()
    await stage.advance("1s")
    assert await state(handle) is State.RETRYING
    await stage.advance("1s")
    assert await handle.result() == "never"
    return await moves(stage.client, handle.run_id)


@workflow
async def fans(run: WorkflowRun) -> list[str]:
    return list(await asyncio.gather(*[act.run(run, name) for name in "abc"]))


@scenario(fans, shows=("crash.not-again",))
async def of_many_tasks_at_once_those_that_ended_are_not_done_again(stage: Stage) -> None:
    gated("a", "c")
    handle = await stage.client.enqueue(fans.bind())

    async def one_has_ended() -> bool:
        return (await handle.status()).tasks == 1

    await wait_until(one_has_ended)
    await stage.crash_worker()
    await wait_until(lambda: len(begun) == 5)
    for gate in gates.values():
        gate.set()
    await stage.settle()
    assert await handle.result() == ["a", "b", "c"]
    assert begun.count("b") == 1


@scenario(line, shows=("crash.drain",))
async def a_worker_that_drains_gives_its_runs_back(stage: Stage) -> None:
    gated()
    handle = await stage.client.enqueue(line.bind())
    await stage.settle()
    await stage.stop_worker()
    await handle.send(go, "x")
    assert await state(handle) is State.QUEUED
    await stage.start_worker()
    await stage.advance("1h")
    assert await handle.result() == ["a", "x", "b", "c"]
    assert begun == ["a", "b", "c"]


@workflow
async def changed(run: WorkflowRun) -> str:
    first = await act.run(run, "z" if "another way" in gates else "a")
    return f"{first} {await run.wait_for(go)}"


@scenario(changed, shows=("crash.blocked",))
async def a_body_that_goes_another_way_is_blocked_and_goes_on_when_it_is_mended(stage: Stage) -> str | None:
    gated()
    handle = await stage.client.enqueue(changed.bind())
    await stage.settle()
    gated("another way")
    await stage.crash_worker()
    await handle.send(go, "x")
    await stage.settle()
    (blocked,) = (await stage.client.runs.list(states=[State.BLOCKED])).runs
    assert (await handle.why()).reasons[0].facts["message"] == blocked.why
    gated()
    await handle.resume()
    await stage.settle()
    assert await handle.result() == "a x"
    assert begun == []
    return blocked.why


@scenario(changed, shows=("cancel.at-once",))
async def a_blocked_run_is_cancelled_at_once(stage: Stage) -> None:
    gated()
    handle = await stage.client.enqueue(changed.bind())
    await stage.settle()
    gated("another way")
    await stage.crash_worker()
    await handle.send(go, "x")
    await stage.settle()
    assert (await handle.cancel()).state is State.CANCELLED
