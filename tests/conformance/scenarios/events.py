"""Scenarios of events: sent from outside and by bodies, taken once, in their order, by whoever waits."""

from __future__ import annotations

import asyncio

from aiki import Event, EventTimeout, SendFailed, State, WorkflowRun, task, workflow
from tests.conformance.answers import answer, entries, refusal, state
from tests.conformance.stage import Stage, scenario

approved, rejected = Event("approved", type=str), Event("rejected", type=int)


@task
async def note(what: str) -> str:
    return what


@workflow
async def waits(run: WorkflowRun) -> list[str]:
    return [await run.wait_for(approved), await run.wait_for(approved)]


@scenario(waits, shows=("arrivals.one-way", "arrivals.wakes", "arrivals.order"))
async def events_wake_who_waits_for_them_and_are_taken_in_their_order(stage: Stage) -> None:
    handle = await stage.client.enqueue(waits.bind())
    await stage.settle()
    assert await state(handle) is State.WAITING
    await handle.send(approved, "a")
    await stage.settle()
    assert (await handle.status()).waits == ["approved"]
    await stage.stop_worker()
    await handle.send(approved, "b")
    await handle.send(approved, "c")
    await stage.start_worker()
    await stage.settle()
    assert await handle.result() == ["a", "b"]
    assert (await handle.status()).unread == 1


@scenario(waits, shows=("arrivals.order",))
async def events_that_come_before_the_first_claim_wait_for_it(stage: Stage) -> None:
    await stage.stop_worker()
    handle = await stage.client.enqueue(waits.bind())
    await handle.send(approved, "a")
    await handle.send(approved, "b")
    await stage.start_worker()
    await stage.settle()
    assert await handle.result() == ["a", "b"]


@scenario(waits, shows=("arrivals.wakes",))
async def an_event_that_nobody_waits_for_wakes_nobody(stage: Stage) -> None:
    handle = await stage.client.enqueue(waits.bind())
    await stage.settle()
    await handle.send(rejected, 4)
    await stage.settle()
    assert (await handle.status()).claims == 1
    assert (await handle.status()).unread == 1


@scenario(waits, shows=("arrivals.once",))
async def a_send_with_a_key_is_taken_once_and_no_other_value_under_it(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(waits.bind())
    await handle.send(approved, "a", idempotency_key="k")
    await handle.send(approved, "a", idempotency_key="k")
    await stage.settle()
    await handle.send(approved, "a", idempotency_key="k")
    said = [await refusal(handle.send(approved, "b", idempotency_key="k"))]
    await stage.settle()
    assert await state(handle) is State.WAITING
    await handle.send(approved, "z")
    await stage.settle()
    assert await handle.result() == ["a", "z"]
    said.append(await refusal(handle.send(approved, "late")))
    assert [word.partition(":")[0] for word in said] == ["Conflict", "RunEnded"]
    await handle.send(approved, "a", idempotency_key="k")
    return said


@workflow
async def votes(run: WorkflowRun) -> list[list[str]]:
    got = []
    for _ in range(2):
        try:
            got.append(await run.wait_for(approved, count=3, timeout="1h"))
        except EventTimeout:
            got.append([])
    return got


@scenario(votes, shows=("arrivals.order",))
async def a_wait_for_several_takes_all_or_none(stage: Stage) -> None:
    handle = await stage.client.enqueue(votes.bind())
    for word in ("a", "b"):
        await handle.send(approved, word)
    await stage.advance("1h")
    await handle.send(approved, "c")
    await stage.settle()
    assert await handle.result() == [[], ["a", "b", "c"]]


@workflow
async def either(run: WorkflowRun) -> list[str]:
    first = await run.wait_any(approved, rejected, timeout="1h")
    second = await run.wait_any(approved, rejected, timeout="1h")
    return [f"{one.event.name} {one.value}" for one in (first, second)]


@scenario(either)
async def the_first_of_several_events_wins_and_the_other_is_left(stage: Stage) -> None:
    handle = await stage.client.enqueue(either.bind())
    await stage.settle()
    await stage.stop_worker()
    await handle.send(rejected, 4)
    await handle.send(approved, "a")
    await stage.start_worker()
    await stage.settle()
    assert await handle.result() == ["rejected 4", "approved a"]


@scenario(either)
async def a_wait_for_any_gives_up_in_time(stage: Stage) -> None:
    handle = await stage.client.enqueue(either.bind())
    await handle.send(approved, "a")
    await stage.advance("59m")
    assert await state(handle) is State.WAITING
    await stage.advance("1m")
    assert await state(handle) is State.FAILED


@workflow
async def branches(run: WorkflowRun) -> list[list[str] | str]:
    both = asyncio.create_task(run.wait_for(approved, count=2))
    one = asyncio.create_task(run.wait_for(approved))
    return [await one, await both]


@scenario(branches, shows=("arrivals.order",))
async def a_wait_whose_count_is_not_reached_holds_back_nobody(stage: Stage) -> None:
    handle = await stage.client.enqueue(branches.bind())
    await stage.settle()
    for word in ("a", "b", "c"):
        await handle.send(approved, word)
        await stage.settle()
    assert await handle.result() == ["a", ["b", "c"]]


@workflow
async def tells(run: WorkflowRun, to: str) -> list[str]:
    said = []
    for word in ("first", "second", "third"):
        await run.sleep("1s")
        try:
            await run.send(to, approved, word, idempotency_key=f"{word[0]}")
            said.append("taken")
        except SendFailed as error:
            said.append(str(error))
    return said


@scenario(waits, tells, shows=("arrivals.one-way", "arrivals.fold"))
async def a_body_sends_to_another_run_and_hears_what_became_of_it(stage: Stage) -> None:
    handle = await stage.client.enqueue(waits.bind())
    await stage.settle()
    teller = await stage.client.enqueue(tells.bind(handle.run_id))
    await stage.advance("3s")
    assert await handle.result() == ["first", "second"]
    first, second, third = await teller.result()
    assert (first, second) == ("taken", "taken")
    assert "taken" not in third


@scenario(waits, tells)
async def a_body_that_sends_to_nobody_is_told_so(stage: Stage) -> None:
    teller = await stage.client.enqueue(tells.bind("0190b0a0-0000-7000-8000-000000000001"))
    await stage.advance("3s")
    assert "taken" not in await teller.result()


@workflow
async def to_itself(run: WorkflowRun) -> str:
    await run.send(run.run_id, approved, "me")
    return await run.wait_for(approved)


@scenario(to_itself, shows=("arrivals.fold",))
async def a_run_may_send_to_itself(stage: Stage) -> None:
    handle = await stage.client.enqueue(to_itself.bind())
    await stage.settle()
    assert await handle.result() == "me"
    assert await entries(stage.client, handle.run_id) == ["send", "event:approved"]


@scenario(waits)
async def nobody_can_send_to_a_run_that_does_not_exist(stage: Stage) -> list[str]:
    nobody = stage.client.handle("0190b0a0-0000-7000-8000-000000000009")
    said = [await answer(nobody.send(approved, "x")), await answer(nobody.status()), await answer(nobody.cancel())]
    assert [word.partition(":")[0] for word in said] == ["NotFound"] * 3
    return said


@workflow
async def between(run: WorkflowRun) -> list[str]:
    got = [await run.wait_for(approved)]
    await note.run(run, got[0])
    await run.sleep("1h")
    return [*got, await run.wait_for(approved)]


@scenario(between)
async def what_comes_during_a_sleep_waits_for_its_end(stage: Stage) -> None:
    handle = await stage.client.enqueue(between.bind())
    await handle.send(approved, "a")
    await stage.settle()
    await handle.send(approved, "b")
    await stage.settle()
    assert await state(handle) is State.SLEEPING
    await stage.crash_worker()
    await stage.advance("1h")
    assert await handle.result() == ["a", "b"]
