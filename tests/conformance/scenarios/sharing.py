"""Scenarios of tasks whose idempotency keys other runs may use, too."""

from __future__ import annotations

import asyncio

import pytest

from aiki import Conflict, Event, Handle, Retry, RunFailed, State, TaskFailed, WorkflowRun, task, task_run, workflow
from tests.conformance.answers import moves, state
from tests.conformance.stage import Stage, scenario
from tests.waiting import wait_until

go = Event("go", type=str)
begun: list[str] = []
"""The runs in which the task was tried, and with which key: one line each."""
gates: dict[str, asyncio.Event] = {}


def gated(*names: str) -> None:
    begun.clear()
    gates.clear()
    gates.update({name: asyncio.Event() for name in names})


def keys() -> set[str]:
    return {line.split()[1] for line in begun}


@task(idempotency_scope="workflow", retry=Retry.fixed(2, "10s"))
async def charge(order: str, fails: int = 0) -> str:
    """Fail as often as it says, of all tries in whichever runs."""
    begun.append(f"{task_run().run_id} {task_run().idempotency_key}")
    number = len(begun)
    if order in gates:
        await gates[order].wait()
    if number <= fails:
        raise ValueError("it fails")
    return f"{order} by {len(begun)}"


@workflow
async def buys(run: WorkflowRun, order: str, fails: int = 0) -> str:
    return await charge.options(idempotency_key=order).run(run, order, fails)


async def bought(stage: Stage, count: int, order: str = "o") -> list[Handle[str]]:
    """Enqueue runs that want one key, the first before the others, and return when the others wait for it."""
    first = await stage.client.enqueue(buys.bind(order))
    await wait_until(lambda: len(begun) == 1)
    others = [await stage.client.enqueue(buys.bind(order)) for _ in range(count - 1)]
    for one in others:
        await waits(one)
    return [first, *others]


async def waits(handle: Handle[str]) -> None:
    async def does() -> bool:
        return await state(handle) is State.WAITING

    await wait_until(does)


@scenario(buys, shows=("shared.once",))
async def runs_that_call_a_task_with_one_key_have_one_result(stage: Stage) -> list[str]:
    gated("o")
    handles = await bought(stage, 4)
    gates["o"].set()
    assert [await one.result() for one in handles] == ["o by 1"] * 4
    later = await stage.client.enqueue(buys.bind("o"))
    assert await later.result() == "o by 1"
    assert len(begun) == 1
    return [*await moves(stage.client, handles[0].run_id), *await moves(stage.client, handles[1].run_id)]


@workflow
async def catches(run: WorkflowRun, order: str, fails: int) -> str:
    try:
        return await charge.options(idempotency_key="k", retry=Retry.none()).run(run, order, fails)
    except TaskFailed as error:
        return f"{error.type} after {error.attempts}"
    except Conflict as error:
        return error.message.split(",")[0]


@scenario(catches, shows=("shared.next", "shared.key"))
async def who_waits_goes_on_when_the_task_has_failed_and_under_the_same_key(stage: Stage) -> list[str]:
    gated("o")
    first = await stage.client.enqueue(catches.bind("o", 1))
    await wait_until(lambda: len(begun) == 1)
    second = await stage.client.enqueue(catches.bind("o", 1))
    await waits(second)
    gates["o"].set()
    assert [await first.result(), await second.result()] == ["ValueError after 1", "o by 2"]
    assert [line.split()[0] for line in begun] == [first.run_id, second.run_id]
    assert len(keys()) == 1
    return await moves(stage.client, second.run_id)


@scenario(catches, shows=("shared.input",))
async def another_input_is_a_conflict_while_a_run_has_the_key_and_afterwards(stage: Stage) -> list[str]:
    gated("a")
    first = await stage.client.enqueue(catches.bind("a", 0))
    await wait_until(lambda: len(begun) == 1)
    said = [await (await stage.client.enqueue(catches.bind("b", 0))).result()]
    gates["a"].set()
    said.append(await first.result())
    said.append(await (await stage.client.enqueue(catches.bind("b", 0))).result())
    return said


@scenario(buys, shows=("shared.next",))
async def who_waits_goes_on_when_the_owner_is_cancelled(stage: Stage) -> list[str]:
    gated("o")
    first, second, third = await bought(stage, 3)
    await first.cancel()
    await wait_until(lambda: len(begun) == 2)
    gates["o"].set()
    assert [await second.result(), await third.result()] == ["o by 2"] * 2
    await stage.settle()
    assert await state(first) is State.CANCELLED
    assert len(keys()) == 1
    return await moves(stage.client, third.run_id)


@scenario(buys, shows=("shared.next",))
async def who_waits_goes_on_when_the_owner_is_held_between_two_tries(stage: Stage) -> list[str]:
    gated()
    first = await stage.client.enqueue(buys.bind("o", 1))
    await stage.settle()
    assert await state(first) is State.RETRYING
    others = [await stage.client.enqueue(buys.bind("o", 1)) for _ in range(10)]
    await stage.settle()
    assert {await state(one) for one in others} == {State.WAITING}
    await first.pause()
    assert {await one.result() for one in others} == {"o by 2"}
    assert [line.split()[0] for line in begun] == [first.run_id, others[0].run_id]
    await first.resume()
    assert await first.result() == "o by 2"
    assert len(keys()) == 1
    return await moves(stage.client, first.run_id)


@scenario(buys, shows=("shared.next",), is_timed=False)
async def who_waits_goes_on_when_the_owner_dies(stage: Stage) -> None:
    gated("o")
    handles = await bought(stage, 3)
    await stage.crash_worker()
    await wait_until(lambda: len(begun) == 2)
    gates["o"].set()
    assert {await one.result() for one in handles} == {"o by 2"}
    assert len(begun) == 2
    assert len(keys()) == 1


@workflow
async def gives_up(run: WorkflowRun) -> str:
    try:
        async with asyncio.timeout(5):
            return await charge.options(idempotency_key="o").run(run, "o", 9)
    except TimeoutError:
        await run.sleep("1h")
        return "gave up"
    except TaskFailed:
        return "failed"


@scenario(gives_up, shows=("shared.next",), is_timed=False)
async def a_call_that_nobody_waits_for_any_more_gives_its_key_back(stage: Stage) -> None:
    gated()
    runs = []
    for _ in range(3):
        runs.append(await stage.client.enqueue(gives_up.bind()))
        await stage.advance("1s")
    for later in range(3):
        await stage.advance("1s")
        assert [line.split()[0] for line in begun] == [one.run_id for one in runs[: 1 if later < 1 else later + 1]]
    await stage.advance("2h")
    assert [await one.result() for one in runs] == ["gave up"] * 3


@workflow
async def takes_both(run: WorkflowRun, keys: list[str]) -> list[str]:
    return [await charge.options(idempotency_key=key).run(run, key) for key in keys]


@workflow
async def takes_both_at_once(run: WorkflowRun, keys: list[str]) -> list[str]:
    both = [charge.options(idempotency_key=key, idempotency_scope="namespace").run(run, key) for key in keys]
    return list(await asyncio.gather(*both))


@scenario(takes_both, takes_both_at_once, shows=("shared.no-circle",))
async def two_runs_that_want_two_keys_in_opposite_order_wait_for_each_other_for_nothing(stage: Stage) -> None:
    for taking in (takes_both, takes_both_at_once):
        gated("a", "b")
        one = await stage.client.enqueue(taking.bind(["a", "b"]))
        other = await stage.client.enqueue(taking.bind(["b", "a"]))
        await wait_until(lambda: len(begun) == 2)
        gates["a"].set()
        gates["b"].set()
        await stage.settle()
        assert sorted(await one.result()) == sorted(await other.result())
        assert len(begun) == 2


@workflow
async def keeps(run: WorkflowRun, scope: str) -> str:
    kept = charge.options(idempotency_key="k", idempotency_retention="1h")
    if scope == "namespace":
        kept = kept.options(idempotency_scope="namespace")
    return await kept.run(run, "o")


@workflow(name="keeps-too")
async def keeps_too(run: WorkflowRun, scope: str) -> str:
    kept = charge.options(idempotency_key="k", idempotency_retention="1h")
    if scope == "namespace":
        kept = kept.options(idempotency_scope="namespace")
    return await kept.run(run, "o")


@scenario(keeps, keeps_too, shows=("shared.scope",))
async def a_key_is_one_in_its_workflow_or_in_the_namespace(stage: Stage) -> list[str]:
    gated()
    said: list[str] = []
    for scope in ("workflow", "namespace"):
        for one in (keeps, keeps_too, keeps):
            handle = await stage.client.enqueue(one.bind(scope))
            said.append(f"{scope} {one.name} {await handle.result()}")
    assert len(keys()) == 3
    return said


@scenario(keeps, shows=("shared.expires",))
async def a_result_stands_for_its_time_and_then_the_key_begins_anew(stage: Stage) -> list[str]:
    gated()
    said = [await (await stage.client.enqueue(keeps.bind("workflow"))).result()]
    await stage.advance("59m")
    said.append(await (await stage.client.enqueue(keeps.bind("workflow"))).result())
    await stage.advance("1m")
    said.append(await (await stage.client.enqueue(keeps.bind("workflow"))).result())
    assert len(keys()) == 1
    return said


@scenario(buys, shows=("shared.once",))
async def a_key_that_was_not_given_fails_its_run_and_says_what_to_write(stage: Stage) -> None:
    handle = await stage.client.enqueue(buys.bind(""))
    with pytest.raises(RunFailed, match="idempotency_key"):
        await handle.result()
