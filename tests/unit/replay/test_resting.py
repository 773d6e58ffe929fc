"""Runs at rest, on code that waits for something else there: each change is told, with both sides."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from aiki import Event, Handle, Retry, State, WorkflowRun, task, workflow
from aiki.definitions.workflow import Workflow
from aiki.replay import Finding, Recording, Verdict, replay
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio
paid, confirmed, expired = Event("paid", type=str), Event("confirmed", type=str), Event("expired", type=str)


@task
async def note(text: str) -> None:
    """Be called by new code."""


@task(retry=Retry.fixed(9, "1h"))
async def stumble() -> None:
    raise TimeoutError("no answer")


@workflow(name="child", version="1")
async def child(run: WorkflowRun) -> str:
    return await run.wait_for(paid)


@workflow(name="other-child", version="1")
async def other_child(run: WorkflowRun) -> str:
    return await run.wait_for(paid)


async def event(run: WorkflowRun) -> None:
    await run.wait_for(paid)


async def event_within_a_day(run: WorkflowRun) -> None:
    await run.wait_for(paid, timeout="1d")


async def event_within_an_hour(run: WorkflowRun) -> None:
    await run.wait_for(paid, timeout="1h")


async def event_within_a_deadline(run: WorkflowRun) -> None:
    async with asyncio.timeout(86_400):
        await run.wait_for(paid)


async def renamed_event(run: WorkflowRun) -> None:
    await run.wait_for(confirmed)


async def one_of_two(run: WorkflowRun) -> None:
    await run.wait_any(paid, expired)


async def one_of_three(run: WorkflowRun) -> None:
    await run.wait_any(paid, expired, confirmed)


async def both_at_once(run: WorkflowRun) -> None:
    await asyncio.gather(run.wait_for(expired), run.wait_for(paid))


async def sleep(run: WorkflowRun) -> None:
    await run.sleep("10m")


async def shorter_sleep(run: WorkflowRun) -> None:
    await run.sleep("9m")


async def longer_sleep(run: WorkflowRun) -> None:
    await run.sleep("20m")


async def sleep_in_seconds(run: WorkflowRun) -> None:
    await run.sleep("600s")


async def sleep_until(run: WorkflowRun) -> None:
    await run.sleep_until(datetime(2100, 1, 1, tzinfo=UTC))


async def same_date_otherwise(run: WorkflowRun) -> None:
    await run.sleep_until(run.now() + timedelta(minutes=10))


async def first_of_two_sleeps(run: WorkflowRun) -> None:
    await asyncio.gather(run.sleep("20m"), run.sleep("10m"))


async def end_of_a_child(run: WorkflowRun) -> None:
    await child.run(run)


async def end_of_another(run: WorkflowRun) -> None:
    await other_child.run(run)


async def new_task(run: WorkflowRun) -> None:
    await note.run(run, "new")


async def task_in_front(run: WorkflowRun) -> None:
    await note.run(run, "new")
    await run.wait_for(paid)


async def nothing(run: WorkflowRun) -> None:
    """End."""


async def event_beside_a_retry(run: WorkflowRun) -> None:
    await asyncio.gather(stumble.run(run), run.wait_for(paid))


async def event_beside_a_retry_and_a_sleep(run: WorkflowRun) -> None:
    await asyncio.gather(stumble.run(run), run.wait_for(paid), run.sleep("2h"))


async def event_beside_a_sleep(run: WorkflowRun) -> None:
    await asyncio.gather(run.sleep("10m"), run.wait_for(paid))


def as_flow(body: Any) -> Workflow[..., Any]:
    return workflow(name="flow", version="1")(body)


async def at_rest(body: Any) -> Recording:
    """Return a run of this body that has come to rest."""
    async with TestEnv() as env:
        handle: Handle[Any] = await env.enqueue(as_flow(body))
        (found,) = [one async for one in env.client.runs.export([handle.run_id])]
    return found


def on(recording: Recording, body: Any) -> Verdict:
    (verdict,) = replay([recording], [as_flow(body), child, other_child])
    return verdict


WAITING = [
    *(event, event_within_a_day, event_within_an_hour, renamed_event, one_of_two, one_of_three, both_at_once),
    *(end_of_a_child, event_beside_a_retry, event_beside_a_retry_and_a_sleep, event_beside_a_sleep),
    event_within_a_deadline,
]
SLEEPING = [sleep, shorter_sleep, longer_sleep, sleep_until, same_date_otherwise, first_of_two_sleeps]
SAME = {
    frozenset(pair)
    for pair in (
        (sleep, sleep_in_seconds),
        (sleep, same_date_otherwise),
        (sleep, first_of_two_sleeps),
        (same_date_otherwise, first_of_two_sleeps),
        (same_date_otherwise, sleep_in_seconds),
        (first_of_two_sleeps, sleep_in_seconds),
        (one_of_two, both_at_once),
        (event_within_a_day, event_within_a_deadline),
    )
}
"""Bodies that rest for the same: no record tells them apart before they go on."""
UNSEEN = {
    (event, event_beside_a_retry),
    (event_beside_a_retry, event_beside_a_retry_and_a_sleep),
    (event_beside_a_retry_and_a_sleep, event_beside_a_retry),
}
"""A task that is new beside what is waited for, and a sleep that ends later than a try begins."""


@pytest.mark.parametrize("old", [*WAITING, *SLEEPING], ids=lambda one: one.__name__)
async def test_each_rest_is_told_from_each_other(old: Any) -> None:
    recording = await at_rest(old)
    assert recording.exported.state is (State.WAITING if old in WAITING else State.SLEEPING)
    assert on(recording, old).finding is Finding.COMPATIBLE
    for new in [*WAITING, *SLEEPING, sleep_in_seconds, end_of_another, new_task, task_in_front, nothing]:
        verdict = on(recording, new)
        if new is old or frozenset((old, new)) in SAME or (old, new) in UNSEEN:
            assert verdict.finding is Finding.COMPATIBLE, (new.__name__, verdict)
        elif old is end_of_a_child:
            assert verdict.finding is Finding.DIVERGES, (new.__name__, verdict)
        else:
            assert verdict.finding is Finding.DIFFERENTLY, (new.__name__, verdict)
            assert verdict.place is not None, new.__name__
            assert verdict.place.file == __file__, new.__name__
            assert verdict.recorded, new.__name__


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (event, renamed_event, "it waits for event 'paid'; the code at hand waits for event 'confirmed'"),
        (event, one_of_two, "it waits for event 'paid'; the code at hand waits for event 'expired' or 'paid'"),
        (event, end_of_a_child, "it waits for event 'paid'; the code at hand waits for the end of a child"),
        (event, new_task, "it waits for event 'paid'; the code at hand asks for task note"),
        (event, nothing, "it waits for event 'paid'; it has not ended, and would now end: completed with null"),
        (event_within_a_day, event, "waits for event 'paid' until 2"),
        (event, event_within_a_day, "it waits for event 'paid'; the code at hand waits for event 'paid' until 2"),
        (sleep, longer_sleep, "; the code at hand sleeps until 2"),
        (sleep, event, "; the code at hand waits for event 'paid'"),
    ],
)
async def test_what_is_recorded_and_what_is_now_are_said(old: Any, new: Any, words: str) -> None:
    verdict = on(await at_rest(old), new)
    assert verdict.finding is Finding.DIFFERENTLY, verdict
    assert words in verdict.why, verdict.why


async def test_of_a_record_that_does_not_say_what_it_rests_for_its_state_is_believed() -> None:
    waiting, sleeping = await at_rest(event), await at_rest(sleep)
    for recording in (waiting, sleeping):
        recording.exported = structs.replace(recording.exported, waits=[], due_at=None)
    assert on(waiting, renamed_event).finding is Finding.COMPATIBLE
    assert on(sleeping, longer_sleep).finding is Finding.COMPATIBLE
    assert on(waiting, sleep).why.startswith("it waits for an event or a child; the code at hand sleeps until ")
    assert on(sleeping, event).why == "it sleeps on a timer; the code at hand waits for event 'paid'"


async def test_nothing_is_said_of_what_a_run_waits_for_that_is_no_longer_at_rest() -> None:
    recording = await at_rest(event)
    for state in (State.QUEUED, State.RUNNING, State.PAUSED):
        exported = structs.replace(recording.exported, state=state, waits=[])
        assert on(replace(recording, exported=exported), renamed_event).finding is Finding.COMPATIBLE


async def test_a_timer_that_was_asked_too_early_may_be_set_again_a_little_later() -> None:
    recording = await at_rest(event_within_a_day)
    due = recording.exported.due_at
    assert due is not None
    for later, finding in ((20_000, Finding.COMPATIBLE), (-1, Finding.DIFFERENTLY), (60_000_000, Finding.DIFFERENTLY)):
        exported = structs.replace(recording.exported, due_at=due + later)
        assert on(replace(recording, exported=exported), event_within_a_day).finding is finding, later


async def test_a_key_that_a_task_waits_for_says_nothing_of_the_body() -> None:
    recording = await at_rest(event)
    recording.exported.waits.append("key")
    assert on(recording, event).finding is Finding.COMPATIBLE
    assert on(recording, renamed_event).finding is Finding.DIFFERENTLY
