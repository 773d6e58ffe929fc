"""Runs of all kinds: how they rest, end, are cancelled, retried and have children, on their own code and on another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec

import pytest
from msgspec import structs

from aiki import (
    ChildFailed,
    Event,
    Handle,
    Retry,
    RunFailed,
    RunTimedOut,
    SendFailed,
    State,
    TaskFailed,
    WorkflowRun,
    task,
    workflow,
)
from aiki.definitions.workflow import Workflow
from aiki.replay import Finding, Recording, Verdict, replay
from aiki.testing import TestEnv
from tests.unit.execution.replays import run as run_world
from tests.worlds.recordings import cut_at, recorded

pytestmark = pytest.mark.anyio
P = ParamSpec("P")
approved = Event("approved", type=str)
ELSEWHERE = "0190b0a0-0000-7000-8000-00000000beef"


@task
async def step(number: int) -> int:
    return number


@task(retry=Retry.fixed(2, "1h"))
async def stumble() -> None:
    raise TimeoutError("no answer")


@task(retry=Retry.none())
async def fails(number: int) -> int:
    raise ValueError(f"number {number}")


def flow(
    *, version: str = "1", **options: Any
) -> Callable[[Callable[Concatenate[WorkflowRun, P], Coroutine[Any, Any, Any]]], Workflow[P, Any]]:
    """Make a workflow `flow` of a body."""

    def made(body: Callable[Concatenate[WorkflowRun, P], Coroutine[Any, Any, Any]]) -> Workflow[P, Any]:
        return workflow(name="flow", version=version, **options)(body)

    return made


async def export(env: TestEnv, handle: Handle[Any] | str) -> Recording:
    run_id = handle if isinstance(handle, str) else handle.run_id
    (found,) = [one async for one in env.client.runs.export([run_id])]
    return found


def on(recording: Recording, new: Workflow[..., Any]) -> Verdict:
    (verdict,) = replay([recording], [new])
    return verdict


def fits(recording: Recording, own: Workflow[..., Any]) -> None:
    verdict = on(recording, own)
    assert verdict.finding is Finding.COMPATIBLE, verdict


def differs(recording: Recording, new: Workflow[..., Any], words: str) -> None:
    verdict = on(recording, new)
    assert verdict.finding is Finding.DIFFERENTLY, verdict
    assert words in verdict.why, verdict.why


def diverges(recording: Recording, new: Workflow[..., Any], words: str) -> None:
    verdict = on(recording, new)
    assert verdict.finding is Finding.DIVERGES, verdict
    assert words in verdict.why, verdict.why


# -- at rest


async def test_who_rests_for_what_is_no_longer_asked_for_would_go_on_differently() -> None:
    @flow()
    async def old(run: WorkflowRun, sleeps: bool) -> str:
        await step.run(run, 1)
        if sleeps:
            await run.sleep("10m")
            return "slept"
        return await run.wait_for(approved)

    @flow()
    async def without(run: WorkflowRun, sleeps: bool) -> str:
        return f"{await step.run(run, 1)}"

    @flow()
    async def with_a_task(run: WorkflowRun, sleeps: bool) -> str:
        await step.run(run, 1)
        return f"{await step.run(run, 2)}"

    async with TestEnv() as env:
        for sleeps, state in ((True, State.SLEEPING), (False, State.WAITING)):
            recording = await export(env, await env.enqueue(old, sleeps))
            assert recording.exported.state is state
            fits(recording, old)
            differs(recording, without, 'would now end: completed with "1"')
            differs(
                recording,
                with_a_task,
                "it sleeps until 20" if sleeps else "it waits for event 'approved'; the code at hand asks",
            )
            assert on(recording, with_a_task).asked == f'task step [{_key(with_a_task, recording)}] with {{"number":2}}'


def _key(new: Workflow[..., Any], recording: Recording) -> str:
    asked = on(recording, new).asked or ""
    return asked.partition("[")[2].partition("]")[0]


async def test_a_task_that_was_tried_and_is_no_longer_asked_for_is_told() -> None:
    @flow()
    async def old(run: WorkflowRun) -> None:
        await stumble.run(run)

    @flow()
    async def other(run: WorkflowRun) -> None:
        await step.run(run, 1)

    @flow()
    async def nothing(run: WorkflowRun) -> None:
        """Do nothing."""

    async with TestEnv() as env:
        recording = await export(env, await env.enqueue(old))
    assert recording.exported.state is State.RETRYING
    fits(recording, old)
    differs(recording, other, "task stumble")
    differs(recording, other, "was tried once, and would no longer be asked for; the code asks for task step")
    differs(recording, nothing, "would now end: completed with null")


async def test_a_try_that_was_given_up_is_nobodys() -> None:
    @flow()
    async def old(run: WorkflowRun) -> None:
        try:
            async with asyncio.timeout(60):
                await stumble.run(run)
        except TimeoutError:
            await run.wait_for(approved)

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        await env.advance("2m")
        recording = await export(env, handle)
    assert recording.tries
    assert recording.exported.state is State.WAITING
    fits(recording, old)


def test_a_send_whose_outcome_nobody_has_taken_is_told() -> None:
    @flow()
    async def old(run: WorkflowRun) -> None:
        try:
            await run.send(ELSEWHERE, approved, "x")
        except SendFailed:
            await step.run(run, 1)

    @flow()
    async def other(run: WorkflowRun) -> None:
        await step.run(run, 1)

    world = run_world(old)
    (op,) = [one for one in world.inbox.arrivals if one.kind == "op"]
    recording = replace(cut_at(recorded(world.run), 0), unread=[op])
    fits(recording, old)
    differs(recording, other, "an event was sent")
    of_an_earlier_generation = structs.replace(op, name="00000000-0000-7000-8000-000000000000")
    fits(replace(recording, unread=[of_an_earlier_generation]), other)


async def test_a_run_that_no_worker_has_had_may_do_anything() -> None:
    @flow()
    async def old(run: WorkflowRun, number: int) -> int:
        return await step.run(run, number)

    @flow()
    async def other(run: WorkflowRun, number: int) -> int:
        return number

    @flow()
    async def stricter(run: WorkflowRun, number: int, text: str) -> int:
        return number

    async with TestEnv() as env:
        handle = await old.options(delay="1h").enqueue(env.client, 7)
        recording = await export(env, handle)
    assert recording.exported.state is State.SCHEDULED
    fits(recording, old)
    fits(recording, other)
    diverges(recording, stricter, "its input does not fit, and the run would fail")


# -- how they end


async def test_runs_that_have_failed_fail_as_they_did() -> None:
    @flow()
    async def old(run: WorkflowRun) -> None:
        await fails.run(run, 1)

    @flow()
    async def caught(run: WorkflowRun) -> None:
        try:
            await fails.run(run, 1)
        except TaskFailed:
            return

    @flow()
    async def other(run: WorkflowRun) -> None:
        try:
            await fails.run(run, 1)
        except TaskFailed:
            raise KeyError("else") from None

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        with pytest.raises(RunFailed):
            await handle.result()
        recording = await export(env, handle)
    fits(recording, old)
    differs(recording, caught, "it is failed, and would now be completed with null")
    differs(recording, other, "and would now by KeyError: 'else'")
    fits(cut_at(recording, 1), old)  # it fails by its last entry


async def test_a_body_that_waits_for_nothing_fails_so_again() -> None:
    @flow()
    async def stuck(run: WorkflowRun) -> None:
        await step.run(run, 1)
        await asyncio.Event().wait()

    async with TestEnv() as env:
        handle = await env.enqueue(stuck)
        with pytest.raises(RunFailed):
            await handle.result()
        fits(await export(env, handle), stuck)


@pytest.mark.parametrize("force", [False, True])
async def test_runs_that_were_cancelled_are_so_by_their_own_code(force: bool) -> None:
    @flow()
    async def old(run: WorkflowRun) -> None:
        await step.run(run, 1)
        try:
            await run.wait_for(approved)
        finally:
            await step.run(run, -1)

    @flow()
    async def takes_back_more(run: WorkflowRun) -> None:
        await step.run(run, 1)
        try:
            await run.wait_for(approved)
        finally:
            await step.run(run, -1)
            await step.run(run, -2)

    @flow()
    async def takes_back_other(run: WorkflowRun) -> None:
        await step.run(run, 1)
        try:
            await run.wait_for(approved)
        finally:
            await step.run(run, -2)

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        await handle.cancel(force=force)
        await env.advance("1m")
        recording = await export(env, handle)
    assert recording.exported.state is State.CANCELLED
    for length in range(len(recording.entries)):
        fits(cut_at(recording, length), old)
    fits(recording, old)
    if force:
        fits(recording, takes_back_other)
    else:
        differs(recording, takes_back_more, "it is cancelled, and would now ask for task step")
        diverges(recording, takes_back_other, "is not asked for; the code asks for task step")


async def test_a_run_whose_time_was_over_fails_so_again() -> None:
    @flow(timeout="1h")
    async def old(run: WorkflowRun) -> None:
        await run.sleep("2h")

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        await env.advance("3h")
        with pytest.raises(RunTimedOut):
            await handle.result()
        fits(await export(env, handle), old)


# -- several lives


async def test_of_a_run_that_went_on_the_generation_is_replayed_in_which_it_is() -> None:
    @flow()
    async def old(run: WorkflowRun, left: int) -> int:
        number = await step.run(run, left)
        if left:
            old.continue_as_new(run, left - 1)
        await run.wait_for(approved)
        return number

    @flow()
    async def other(run: WorkflowRun, left: int) -> int:
        number = await step.run(run, left + 1)
        await run.wait_for(approved)
        return number

    async with TestEnv() as env:
        handle = await env.enqueue(old, 2)
        recording = await export(env, handle)
        assert recording.exported.run.generation == 2
        fits(recording, old)
        diverges(recording, other, "entry 1, task step")
        await handle.send(approved, "alice")
        assert await handle.result() == 0
        fits(await export(env, handle), old)


@pytest.mark.parametrize("retry_from", ["failure", "start"])
async def test_runs_that_are_tried_again_by_their_own_rule_fit(retry_from: Any) -> None:
    @flow(retry=Retry.fixed(3, "1h"), retry_from=retry_from)
    async def old(run: WorkflowRun) -> None:
        await step.run(run, 1)
        await asyncio.gather(fails.run(run, 1), step.run(run, 2))

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        for state in (State.RETRYING, State.RETRYING, State.FAILED):
            recording = await export(env, handle)
            assert recording.exported.state is state
            fits(recording, old)
            await env.advance("61m")


async def test_a_run_that_a_person_has_retried_fits_before_and_after() -> None:
    is_broken = True

    @task(retry=Retry.none())
    async def mended() -> str:
        if is_broken:
            raise ValueError("broken")
        return "mended"

    @flow()
    async def old(run: WorkflowRun) -> str:
        await step.run(run, 1)
        a, _ = await asyncio.gather(mended.run(run), step.run(run, 2))
        return f"{a} {await step.run(run, 3)}"

    @flow()
    async def other(run: WorkflowRun) -> str:
        await step.run(run, 1)
        return f"{await mended.run(run)} {await step.run(run, 4)}"

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        with pytest.raises(RunFailed):
            await handle.result()
        is_broken = False
        new = await handle.retry()
        assert await new.result() == "mended 3"
        fits(await export(env, handle.run_id), old)
        recording = await export(env, new.run_id)
        fits(recording, old)
        diverges(recording, other, "entry 5, task step")


# -- families, and the rest


async def test_children_are_read_again_and_not_started() -> None:
    @workflow(name="child", version="1")
    async def child(run: WorkflowRun, number: int) -> int:
        if number < 0:
            await fails.run(run, number)
        return await step.run(run, number)

    @workflow(name="child", version="1")
    async def child_of_text(run: WorkflowRun, number: int) -> str:
        return ""

    def family(called: Workflow[[int], Any], *, starts: int = 2) -> Workflow[[], Any]:
        @flow()
        async def parent(run: WorkflowRun) -> int:
            children = [await called.start(run, number) for number in range(starts)]
            total = len(f"{await called.run(run, 7)} {await run.all(children)}")
            try:
                await called.options(idempotency_key="k").run(run, -1)
            except ChildFailed:
                return total
            return 0

        return parent

    old = family(child)
    async with TestEnv(workflows=[child]) as env:
        handle = await env.enqueue(old)
        assert await handle.result() == 8
        recording = await export(env, handle)
    assert recording.ends
    for length in range(len(recording.entries)):
        fits(cut_at(recording, length), old)
    fits(recording, old)
    diverges(recording, family(child, starts=1), "starts of children")
    diverges(recording, family(child, starts=3), "the code asks for ends of 3 children")
    verdict = on(recording, family(child_of_text))
    assert verdict.finding is Finding.DIVERGES
    assert "the body has raised PayloadError" in verdict.why
    gone = on(replace(recording, ends=[]), old)
    assert gone.finding is Finding.UNKNOWN
    assert "needs what is gone" in gone.why


async def test_patches_are_taken_out_when_no_run_needs_them() -> None:
    @flow()
    async def patched(run: WorkflowRun) -> int:
        if run.patched("two"):
            await step.run(run, 2)
        return await step.run(run, 3)

    @flow()
    async def for_good(run: WorkflowRun) -> int:
        await step.run(run, 2)
        return await step.run(run, 3)

    @flow()
    async def never(run: WorkflowRun) -> int:
        return await step.run(run, 3)

    async with TestEnv() as env:
        handle = await env.enqueue(patched)
        await handle.result()
        recording = await export(env, handle)
    for length in range(len(recording.entries)):
        fits(cut_at(recording, length), patched)
    fits(recording, patched)
    fits(recording, for_good)
    diverges(recording, never, "entry 2, task step")


async def test_loops_of_other_lengths_are_found() -> None:
    def loop(times: int) -> Workflow[[], Any]:
        @flow()
        async def loops(run: WorkflowRun) -> int:
            return sum([await step.run(run, number) for number in range(times)])

        return loops

    async with TestEnv() as env:
        handle = await env.enqueue(loop(3))
        await handle.result()
        recording = await export(env, handle)
    fits(recording, loop(3))
    diverges(recording, loop(2), "entry 3, task step")
    differs(recording, loop(4), "it is completed, and would now ask for task step")
    differs(cut_at(recording, 2), loop(2), "it has not ended, and would now end: completed with 1")


async def test_a_recording_that_is_not_whole_is_told() -> None:
    async with TestEnv() as env:

        @flow()
        async def old(run: WorkflowRun) -> int:
            return await step.run(run, await step.run(run, 1))

        handle = await env.enqueue(old)
        await handle.result()
        recording = await export(env, handle)
    cut = on(replace(recording, entries=recording.entries[:1]), old)
    assert (cut.finding, cut.why) == (Finding.UNKNOWN, "needs its whole journal: of 2 entries 1 are here")


async def test_a_blocked_run_fits_the_code_that_was_mended_for_it() -> None:
    @flow()
    async def old(run: WorkflowRun) -> int:
        return await step.run(run, 1)

    @flow()
    async def broken(run: WorkflowRun) -> int:
        return await step.run(run, 2)

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        await handle.result()
        recording = cut_at(await export(env, handle), 1)
    blocked = replace(recording, exported=structs.replace(recording.exported, state=State.BLOCKED))
    diverges(blocked, broken, "entry 1, task step")
    fits(blocked, old)  # though it ends there: since it was blocked nobody knows what it waits for


async def test_an_error_that_has_no_text_costs_the_text_alone() -> None:
    class Unreadable(ImportError):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @flow()
    async def old(run: WorkflowRun) -> int:
        return await step.run(run, 1)

    @flow()
    async def evil(run: WorkflowRun) -> int:
        raise Unreadable("x")

    async with TestEnv() as env:
        handle = await env.enqueue(old)
        await handle.result()
        verdict = on(await export(env, handle), evil)
    assert verdict.finding is Finding.UNKNOWN
    assert "its text cannot be read" in verdict.why
