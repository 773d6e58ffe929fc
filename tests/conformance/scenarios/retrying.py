"""Scenarios of retries: a person's, and the workflow's own."""

from __future__ import annotations

import asyncio
from typing import Any

from aiki import ChildFailed, Event, Fatal, Retry, State, TaskFailed, WorkflowRun, task, task_run, workflow
from tests.conformance.answers import answer, entries, refusal, state
from tests.conformance.stage import Stage, scenario

ONCE = Retry.none()
approved, settled = Event("approved", type=str), Event("settled")
done: list[tuple[str, str]] = []
"""Names of tasks with the keys under which they were done."""
fails: dict[str, int] = {}
"""How often a task of this name fails from now on."""


def afresh(**failing: int) -> None:
    done.clear()
    fails.clear()
    fails.update(failing)


def names() -> list[str]:
    return [name for name, _ in done]


@task(retry=ONCE)
async def pay(name: str) -> str:
    if fails.get(name, 0):
        fails[name] -= 1
        raise ValueError(f"{name} is broken")
    done.append((name, task_run().idempotency_key))
    return name


@task(retry=ONCE)
async def reserve() -> str:
    done.append(("reserve", task_run().idempotency_key))
    return "reserve"


@task(retry=ONCE, at_most_once=True)
async def risky() -> str:
    if fails.get("risky", 0):
        fails["risky"] -= 1
        raise ValueError("risky is broken")
    return "risky"


@workflow
async def order(run: WorkflowRun) -> list[str]:
    return [await reserve.run(run), *[await pay.run(run, name) for name in ("charge", "ship")], str(run.attempt)]


@scenario(order, shows=("retry.cut", "retry.copied"))
async def a_retry_goes_on_at_what_failed_and_repeats_nothing_before(stage: Stage) -> None:
    afresh(ship=1)
    old = await stage.client.enqueue(order.bind())
    await stage.settle()
    assert await state(old) is State.FAILED
    await stage.advance("1h")
    new = await old.retry()
    await stage.settle()
    assert await new.result() == ["reserve", "charge", "ship", "2"]
    assert names() == ["reserve", "charge", "ship"]
    assert await old.result() == await new.result()
    again = await old.retry()
    assert (again.run_id, again.created) == (new.run_id, False)


@scenario(order, shows=("retry.compensation", "retry.from-task"))
async def what_was_completed_behind_the_cut_is_done_again_only_by_force_or_kept(stage: Stage) -> list[str]:
    afresh(ship=2)
    old = await stage.client.enqueue(order.bind())
    await stage.settle()
    said = [await refusal(old.retry(from_task="reserve")), await refusal(old.retry(from_task="nothing"))]
    again = await old.retry(from_task="reserve", force=True)
    await stage.settle()
    assert names() == ["reserve", "charge"] * 2
    assert len(set(done)) == 2, "each under its first key"
    kept = await again.retry(from_task="reserve", keep=["reserve", "pay"])
    await stage.settle()
    said.append(str(await answer(kept.result())))
    return said


@scenario(order, shows=("retry.from-start",))
async def from_the_start_all_is_done_under_other_keys(stage: Stage) -> None:
    afresh(ship=1)
    old = await stage.client.enqueue(order.bind())
    await stage.settle()
    new = await old.retry(from_start=True)
    await stage.settle()
    assert names() == ["reserve", "charge", "reserve", "charge", "ship"]
    assert len(set(done)) == 5
    assert (await new.status()).generation == 1


@workflow
async def together(run: WorkflowRun) -> list[str]:
    try:
        return list(await asyncio.gather(pay.run(run, "charge"), reserve.run(run), pay.run(run, "ship")))
    finally:
        await run.wait_for(settled)


@scenario(together, shows=("retry.known",))
async def siblings_that_succeeded_are_known_and_those_that_failed_run_again(stage: Stage) -> None:
    afresh(charge=1, ship=1)
    old = await stage.client.enqueue(together.bind())
    await stage.settle()
    await old.send(settled)
    await stage.settle()
    assert await state(old) is State.FAILED
    await old.retry()
    await stage.settle()
    assert sorted(await old.result()) == ["charge", "reserve", "ship"]
    assert sorted(names()) == ["charge", "reserve", "ship"]


@workflow
async def approving(run: WorkflowRun) -> str:
    who = await run.wait_for(approved)
    await pay.run(run, "charge")
    return f"{who}, {await run.wait_for(approved)}"


@scenario(approving, shows=("retry.events", "retry.sends"))
async def events_behind_the_cut_are_unread_again_and_sends_reach_the_newest_retry(stage: Stage) -> None:
    afresh(charge=1)
    old = await stage.client.enqueue(approving.bind())
    await old.send(approved, "alice")
    await stage.settle()
    new = await old.retry()
    await old.send(approved, "bob")
    await stage.settle()
    assert await new.result() == "alice, bob"


@scenario(approving, shows=("retry.cancelled", "retry.events"))
async def a_cancelled_run_goes_on_just_before_its_cancel(stage: Stage) -> None:
    afresh()
    old = await stage.client.enqueue(approving.bind())
    await stage.settle()
    await old.cancel()
    await stage.settle()
    new = await old.retry()
    await new.send(approved, "alice")
    await old.send(approved, "bob")
    await stage.settle()
    assert await old.result() == "alice, bob"


@scenario(approving, shows=("retry.cancelled", "retry.times"))
async def a_run_that_timed_out_has_its_whole_timeout_again(stage: Stage) -> None:
    afresh()
    old = await stage.client.enqueue(approving.options(timeout="1h").bind())
    await stage.advance("1h")
    assert await state(old) is State.FAILED
    await stage.advance("1d")
    new = await old.retry()
    await stage.advance("59m")
    assert await state(new) is State.WAITING
    await stage.advance("1m")
    assert await state(new) is State.FAILED


@workflow
async def timed(run: WorkflowRun) -> list[str]:
    began = run.now()
    sleeping = asyncio.create_task(run.sleep("2h"))
    await run.sleep("1h")
    await pay.run(run, "charge")
    at = run.now()
    await sleeping
    return [str(at - began), str(run.now() - began), str(run.attempt)]


@scenario(timed, shows=("retry.times",))
async def pending_timers_move_by_the_time_between_failure_and_retry(stage: Stage) -> None:
    afresh(charge=1)
    old = await stage.client.enqueue(timed.bind())
    await stage.advance("1h")
    assert await state(old) is State.FAILED
    await stage.advance("10h")
    new = await old.retry()
    await stage.advance("59m")
    assert await state(new) is State.SLEEPING
    await stage.advance("1m")
    assert await new.result() == ["11:00:00", "12:00:00", "2"]


@workflow
async def part(run: WorkflowRun, name: str) -> str:
    return await pay.run(run, name)


@workflow
async def whole(run: WorkflowRun) -> list[str]:
    await reserve.run(run)
    return [await part.run(run, "charge"), await part.run(run, "ship")]


@scenario(whole, part, shows=("retry.children",))
async def a_failed_child_is_retried_with_its_parent(stage: Stage) -> None:
    afresh(ship=1)
    old = await stage.client.enqueue(whole.bind())
    await stage.settle()
    new = await old.retry()
    await stage.settle()
    assert await new.result() == ["charge", "ship"]
    assert names() == ["reserve", "charge", "ship"]


@workflow
async def slow(run: WorkflowRun) -> str:
    await reserve.run(run)
    await run.wait_for(settled)
    return "slow"


@workflow
async def both(run: WorkflowRun) -> list[str]:
    return list(await asyncio.gather(slow.run(run), part.run(run, "ship")))


@scenario(both, slow, part, shows=("retry.children",))
async def a_child_that_was_cancelled_since_its_sibling_failed_goes_on_too(stage: Stage) -> None:
    afresh(ship=1)
    old = await stage.client.enqueue(both.bind())
    await stage.settle()
    assert await state(old) is State.FAILED
    new = await old.retry()
    await stage.settle()
    (again,) = [run for run in (await stage.client.runs.list(parent=new.run_id)).runs if run.workflow == "slow"]
    await slow.handle(stage.client, again.run_id).send(settled)
    await stage.settle()
    assert await new.result() == ["slow", "ship"]
    assert sorted(names()) == ["reserve", "ship"]


@workflow
async def once(run: WorkflowRun) -> str:
    return await risky.run(run)


@scenario(once, shows=("retry.again",))
async def what_may_begin_but_once_begins_again_only_where_that_is_said(stage: Stage) -> str:
    afresh(risky=1)
    old = await stage.client.enqueue(once.bind())
    await stage.settle()
    said = await refusal(old.retry())
    new = await old.retry(again="risky")
    await stage.settle()
    assert await new.result() == "risky"
    return said


@scenario(part, shows=("retry.input",))
async def another_input_begins_anew(stage: Stage) -> None:
    afresh(charge=1)
    old = await stage.client.enqueue(part.options(priority=3, labels={"a": "b"}).bind("charge"))
    await stage.settle()
    new = await old.retry(input=part.bind("ship"))
    await stage.settle()
    assert await new.result() == "ship"
    status = await new.status()
    assert (status.priority, status.labels, status.generation) == (3, {"a": "b"}, 1)


@scenario(order)
async def a_run_that_has_not_failed_is_not_retried(stage: Stage) -> list[str]:
    afresh()
    handle = await stage.client.enqueue(order.options(delay="1h").bind())
    said = [await refusal(handle.retry())]
    await stage.advance("1h")
    said.append(await refusal(handle.retry()))
    return said


# -- the workflow's own


@workflow(retry=Retry.fixed(3, "1m"))
async def own(run: WorkflowRun) -> list[Any]:
    return [await reserve.run(run), await pay.run(run, "charge"), run.attempt, run.generation]


@scenario(own, shows=("retry.own",))
async def a_workflow_is_tried_again_from_its_failure_in_its_own_run(stage: Stage) -> None:
    afresh(charge=2)
    handle = await stage.client.enqueue(own.bind())
    await stage.settle()
    assert await state(handle) is State.RETRYING
    await stage.advance("2m")
    assert await handle.result() == ["reserve", "charge", 3, 0]
    assert names() == ["reserve", "charge"]
    assert "retry" in await entries(stage.client, handle.run_id)


@scenario(own, shows=("retry.own",))
async def a_workflow_gives_up_after_its_last_attempt(stage: Stage) -> None:
    afresh(charge=9)
    handle = await stage.client.enqueue(own.bind())
    await stage.advance("10m")
    assert await state(handle) is State.FAILED
    assert (await handle.status()).attempt == 3


@scenario(own, shows=("retry.own",))
async def a_resume_cuts_the_wait_before_an_attempt_short(stage: Stage) -> None:
    afresh(charge=1)
    handle = await stage.client.enqueue(own.bind())
    await stage.settle()
    await handle.resume()
    await stage.settle()
    assert await state(handle) is State.COMPLETED


@workflow(retry=Retry.fixed(3, "1m"), retry_from="start")
async def from_start(run: WorkflowRun) -> list[Any]:
    return [await reserve.run(run), await pay.run(run, "charge"), run.attempt, run.generation]


@scenario(from_start, shows=("retry.own-start",))
async def one_that_is_tried_from_its_start_begins_a_generation(stage: Stage) -> None:
    afresh(charge=1)
    handle = await stage.client.enqueue(from_start.bind())
    await stage.advance("1m")
    assert await handle.result() == ["reserve", "charge", 2, 1]
    assert names() == ["reserve", "reserve", "charge"]


@workflow(retry=Retry.fixed(3, "1m"))
async def fatal(run: WorkflowRun) -> None:
    raise Fatal("no use")


@scenario(fatal, shows=("retry.fatal",))
async def a_fatal_error_ends_a_workflow_that_would_be_tried_again(stage: Stage) -> None:
    handle = await stage.client.enqueue(fatal.bind())
    await stage.settle()
    assert await state(handle) is State.FAILED


@workflow(retry=Retry.fixed(3, "1m"))
async def parent(run: WorkflowRun) -> list[Any]:
    try:
        return [await part.run(run, "charge"), run.attempt]
    except ChildFailed:
        await reserve.run(run)
        raise


@scenario(parent, part, shows=("retry.compensation", "retry.own"))
async def a_workflow_whose_body_has_compensated_is_not_tried_again(stage: Stage) -> None:
    afresh(charge=1)
    handle = await stage.client.enqueue(parent.bind())
    await stage.advance("10m")
    assert await state(handle) is State.FAILED


@workflow(retry=Retry.fixed(9, "1m", never_on=TaskFailed))
async def picky(run: WorkflowRun) -> str:
    return await pay.run(run, "charge")


@scenario(picky, shows=("retry.own",))
async def a_workflow_says_on_what_it_is_not_tried_again(stage: Stage) -> None:
    afresh(charge=1)
    handle = await stage.client.enqueue(picky.bind())
    await stage.settle()
    assert await state(handle) is State.FAILED


@scenario(own, shows=("retry.own",))
async def a_cancel_while_it_waits_for_its_next_attempt_ends_it(stage: Stage) -> None:
    afresh(charge=1)
    handle = await stage.client.enqueue(own.bind())
    await stage.settle()
    await handle.cancel()
    await stage.settle()
    assert await state(handle) is State.CANCELLED
