"""Scenarios of who gets a run: keys, conflicts, first events, priorities, labels, versions."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from aiki import Client, Event, Handle, RunEnded, State, Workflow, WorkflowRun, task, workflow
from aiki.wire.messages import Claim, CloseSession, OpenSession, Route
from tests.conformance.answers import answer, moves, refusal, state
from tests.conformance.stage import Stage, scenario

approved = Event("approved", type=str)


@task
async def note(what: str) -> str:
    return what


@workflow
async def waits(run: WorkflowRun, number: int) -> str:
    word = await run.wait_for(approved)
    if word == "fail":
        raise ValueError("it fails")
    return f"{number} {word}"


async def enqueued(client: Client, number: int, **options: Any) -> str:
    """Enqueue under the key; return what became of it in a word, told by runs in the order of their first mention."""
    made = await answer(client.enqueue(waits.options(idempotency_key="k", **options).bind(number)))
    return made if isinstance(made, str) else f"{'new' if made.created else 'old'} {made.run_id}"


POLICIES = ("error", "existing", "retry_failed", "restart")


async def by_every_policy(stage: Stage, **options: Any) -> list[str]:
    """Enqueue with the same and with another input by all policies, those that make new runs last."""
    said = []
    for policy in POLICIES:
        for number in (1, 2):
            said.append(f"{policy} {number}: {await enqueued(stage.client, number, on_conflict=policy, **options)}")
            await stage.settle()
    return said


@scenario(waits, shows=("keys.conflict",))
async def who_holds_a_key_and_runs_is_met_or_conflicts(stage: Stage) -> list[str]:
    await enqueued(stage.client, 1)
    await stage.settle()
    return await by_every_policy(stage)


@scenario(waits, shows=("keys.conflict",))
async def who_holds_a_key_and_has_completed_is_met_or_restarted(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(waits.options(idempotency_key="k").bind(1))
    await handle.send(approved, "go")
    await stage.settle()
    return await by_every_policy(stage)


@scenario(waits, shows=("keys.conflict", "retry.sends"))
async def who_holds_a_key_and_has_failed_is_retried_or_restarted(stage: Stage) -> list[str]:
    handle = await stage.client.enqueue(waits.options(idempotency_key="k").bind(1))
    await handle.send(approved, "fail")
    await stage.settle()
    assert await state(handle) is State.FAILED
    return await by_every_policy(stage)


@scenario(waits, shows=("keys.conflict", "keys.send"))
async def a_first_event_reaches_who_holds_the_key_or_is_refused_with_it(stage: Stage) -> list[str]:
    send = approved.bind("first")
    said = [await enqueued(stage.client, 1, send=send)]
    await stage.settle()
    said += await by_every_policy(stage, send=send)
    return said


@scenario(waits, shows=("keys.send",))
async def a_new_run_and_its_first_event_are_there_together(stage: Stage) -> None:
    handle = await stage.client.enqueue(waits.options(send=approved.bind("first")).bind(1))
    await stage.settle()
    assert await handle.result() == "1 first"
    assert (await handle.status()).claims == 1


@scenario(waits, shows=("keys.send",))
async def a_first_event_for_a_run_that_has_ended_says_which(stage: Stage) -> None:
    keyed = waits.options(idempotency_key="k", send=approved.bind("x"))
    handle = await stage.client.enqueue(keyed.bind(1))
    await stage.settle()
    with pytest.raises(RunEnded, match=handle.run_id):
        await stage.client.enqueue(keyed.bind(1))


@workflow
async def rises(run: WorkflowRun, number: int) -> int:
    await run.sleep("1m")
    return number


@scenario(rises, shows=("claims.order",))
async def runs_are_claimed_by_priority_and_then_in_the_order_of_their_enqueue(stage: Stage) -> None:
    await stage.stop_worker()
    runs = []
    for priority in (0, 5, -5, 0, 5, 0):
        runs.append((await stage.client.enqueue(rises.options(priority=priority).bind(0))).run_id)
        await stage.advance("1ms")
    assert await claim_order(stage, rises) == [runs[place] for place in (1, 4, 0, 3, 5, 2)]


@scenario(rises, shows=("claims.order",))
async def what_has_begun_comes_before_what_is_new(stage: Stage) -> list[str]:
    for number, priority in ((1, 0), (2, 0), (3, 1)):
        await stage.client.enqueue(rises.options(priority=priority).bind(number))
        await stage.advance("1ms")
    await stage.stop_worker()
    for number, priority in ((4, 0), (5, 1), (6, 0)):
        await stage.client.enqueue(rises.options(priority=priority).bind(number))
        await stage.advance("1ms")
    await stage.advance("5m")
    claimed = await claim_order(stage, rises)
    numbers = [(await stage.client.runs.input(run_id))["number"] for run_id in claimed]
    assert numbers == [3, 5, 1, 2, 4, 6]
    return claimed


async def claim_order(stage: Stage, workflow: Workflow[..., Any]) -> list[str]:
    """Return the queued runs in the order in which a worker that takes one at a time gets them."""
    session, route = str(uuid.uuid4()), (workflow.name, workflow.version)
    await stage.call(OpenSession(session, "taker", [Route(*route)], 30.0))
    taken: list[str] = []
    while True:
        reply = await stage.call(Claim(session, f"claim{len(taken)}", [route], 1))
        if not reply.runs:
            await stage.call(CloseSession(session))
            return taken
        taken += [run.fence.run_id for run in reply.runs]


@workflow
async def labels(run: WorkflowRun) -> list[dict[str, str]]:
    seen = [dict(run.labels)]
    run.set_labels({"stage": "two", "tenant": None})
    await note.run(run, "x")
    return [*seen, dict(run.labels)]


@scenario(labels)
async def a_body_sets_its_labels_and_lists_go_by_them(stage: Stage) -> None:
    handle = await stage.client.enqueue(labels.options(labels={"tenant": "a"}).bind())
    await stage.settle()
    assert await handle.result() == [{"tenant": "a"}, {"stage": "two"}]
    found = (await stage.client.runs.list(labels={"stage": "two"})).runs
    assert [run.run_id for run in found] == [handle.run_id]
    assert (await stage.client.runs.list(labels={"tenant": "a"})).runs == []


@workflow
async def details(run: WorkflowRun) -> str:
    run.set_details({"step": 1})
    await run.sleep("1m")
    run.set_details({"step": 2})
    return "shown"


@scenario(details)
async def a_body_shows_what_it_does(stage: Stage) -> None:
    handle = await stage.client.enqueue(details.bind())
    await stage.settle()
    assert (await handle.status()).details == {"step": 1}
    await stage.advance("1m")
    assert (await handle.status()).details == {"step": 2}


@workflow(name="sums", version="1")
async def first_version(run: WorkflowRun) -> str:
    await run.sleep("1h")
    return f"{run.version} {await note.run(run, 'old')}"


@workflow(name="sums", version="2")
async def second_version(run: WorkflowRun) -> str:
    return f"{run.version} {await note.run(run, 'new')}"


@scenario(first_version, second_version)
async def a_run_stays_with_its_version(stage: Stage) -> None:
    old = await stage.client.enqueue(first_version.bind())
    await stage.settle()
    new = await stage.client.enqueue("sums", {}, version="2")
    given = await stage.client.enqueue("sums", {}, version="1")
    await stage.advance("1h")
    assert [await handle.result() for handle in (old, new, given)] == ["1 old", "2 new", "1 old"]


@scenario(rises)
async def what_nobody_has_registered_is_refused(stage: Stage) -> list[str]:
    return [
        await refusal(stage.client.enqueue("nothing", {})),
        await refusal(stage.client.enqueue("rises", {}, version="9")),
        await refusal(stage.client.enqueue("rises", {"what": 1})),
    ]


@workflow
async def patched(run: WorkflowRun) -> list[Any]:
    before = run.patched("change")
    await run.sleep("1m")
    return [before, run.patched("change"), run.patched("other")]


@scenario(patched)
async def a_new_run_has_all_patches(stage: Stage) -> None:
    handle = await stage.client.enqueue(patched.bind())
    await stage.advance("1m")
    assert await handle.result() == [True, True, True]


@scenario(waits)
async def many_runs_are_listed_counted_and_found(stage: Stage) -> list[Any]:
    handles: list[Handle[str]] = await stage.client.enqueue_many(
        waits.options(idempotency_key=f"k{number}", labels={"odd": str(number % 2)}).bind(number) for number in range(5)
    )
    await stage.settle()
    await handles[0].send(approved, "go")
    await handles[1].cancel()
    await stage.settle()
    runs = stage.client.runs
    found: list[Any] = [
        [run.run_id for run in (await runs.list()).runs],
        [run.run_id for run in (await runs.list(labels={"odd": "1"})).runs],
        [run.run_id for run in (await runs.list(states=[State.WAITING], limit=2)).runs],
        await runs.find("waits@k3"),
        (await runs.summary()).counts,
        await runs.input(handles[2].run_id),
    ]
    assert len(found[0]) == 5
    assert found[3] == handles[3].run_id
    return found


@scenario(waits)
async def a_story_begins_with_the_enqueue(stage: Stage) -> None:
    handle = await stage.client.enqueue(waits.bind(1))
    await handle.send(approved, "go")
    await stage.settle()
    assert (await moves(stage.client, handle.run_id))[:2] == ["enqueued", "claim"]
