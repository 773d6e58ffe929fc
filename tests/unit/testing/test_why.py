"""Why runs in memory do not move: as a daemon would say it."""

from __future__ import annotations

import pytest

from aiki import Child, Event, NotFound, Retry, State, WorkflowRun, task, workflow
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio

approved = Event("approved", type=str)
LATEST = ", at the latest until 2026-01-01 02:00:00 UTC (in 2h 0m)"


@task(retry=Retry.fixed(3, "1h"))
async def charge() -> None:
    raise OSError("no route")


@workflow(events=[approved])
async def waiting(run: WorkflowRun) -> str:
    return await run.wait_for(approved, timeout="2h")


@task(retry=Retry.fixed(3, "1h"))
async def fail() -> None:
    raise OSError("no route")


@workflow
async def sharing(run: WorkflowRun) -> None:
    await fail.options(idempotency_key="order-1", idempotency_scope="workflow").run(run)


@workflow
async def parent(run: WorkflowRun) -> list[str]:
    children: list[Child[str]] = [await waiting.start(run) for _ in range(3)]
    return await run.all(children)


@workflow
async def grandparent(run: WorkflowRun) -> list[str]:
    return await parent.run(run)


@workflow
async def sleeping(run: WorkflowRun) -> None:
    await run.sleep("1d")


@workflow
async def charging(run: WorkflowRun) -> None:
    await charge.run(run)


@task(retry=Retry.none())
async def refuse() -> None:
    raise ValueError("no")


@workflow(retry=Retry.fixed(3, "1h"))
async def stubborn(run: WorkflowRun) -> None:
    await refuse.run(run)


async def test_who_waits_for_an_event_says_so_and_what_to_type() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(waiting)
        why = await handle.why()
        status = await handle.status()
    assert (why.state, why.reasons[0].kind, why.path) == (State.WAITING, "event", [handle.run_id])
    assert why.sentence == "waits for event 'approved'" + LATEST
    assert why.hint == f"aiki event send {handle.run_id} approved"
    assert why.since is not None
    assert (status.why, status.is_explained) == (why.sentence, True)


async def test_a_family_is_followed_to_the_leaf() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(grandparent)
        why = await handle.why()
    assert [one.kind for one in (*why.reasons, *why.leaf)] == ["child", "event"]
    assert len(why.path) == 3
    assert why.path[0] == handle.run_id
    assert why.sentence.endswith("waits for event 'approved'" + LATEST)


async def test_of_many_children_the_oldest_is_followed() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(parent)
        why = await handle.why()
        children = {run.run_id for run in (await env.client.runs.list(parent=handle.run_id)).runs}
    assert why.path[0] == handle.run_id
    assert why.path[1] in children
    assert "3 of 3 children still run" in why.sentence


async def test_who_sleeps_or_is_scheduled_says_until_when() -> None:
    async with TestEnv() as env:
        asleep = await env.enqueue(sleeping)
        later = await env.client.enqueue(sleeping.options(delay="1h").bind())
        assert (await asleep.why()).sentence == "sleeps until 2026-01-02 00:00:00 UTC (in 1d 0h)"
        assert (await later.why()).sentence == "begins at 2026-01-01 01:00:00 UTC (in 1h 0m)"
        assert (await later.why()).hint == f"aiki run wake {later.run_id}"


async def test_a_task_and_a_workflow_are_tried_again() -> None:
    async with TestEnv() as env:
        task_again = await (await env.enqueue(charging)).why()
        workflow_again = await (await env.enqueue(stubborn)).why()
    assert task_again.sentence == (
        "waits to try again at 2026-01-01 01:00:00 UTC (in 1h 0m): task charge failed at attempt 1: OSError: no route"
    )
    assert workflow_again.sentence.startswith("begins attempt 2")
    assert workflow_again.sentence.endswith("ValueError: no")


async def test_who_is_paused_or_to_end_says_by_whom() -> None:
    async with TestEnv() as env:
        paused = await env.enqueue(waiting)
        await env.client.runs.pause(paused.run_id, reason="a bad day", actor="alice")
        why = await paused.why()
        assert why.sentence == "is paused by alice: a bad day"
        assert why.hint == f"aiki run resume {paused.run_id}"


async def test_an_ended_run_says_how_and_a_retried_one_who_goes_on() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(waiting)
        await env.client.runs.cancel(handle.run_id, actor="dave")
        assert (await handle.why()).reasons[0].facts["state"] == "cancelled"
        new = await handle.retry()
        why = await handle.why()
    assert why.path == [handle.run_id, new.run_id]
    assert f"run {new.run_id} goes on in its place, which waits for event 'approved'" in why.sentence


async def test_events_that_came_under_another_name_are_told() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(parent)
        child = (await handle.why()).path[-1]
        await env.client.handle(child).pause()
        assert (await handle.why()).leaf[0].kind == "paused"
        await env.client.handle(child).resume()
        assert (await handle.why()).leaf[0].kind == "event"


async def test_a_run_of_a_schedule_that_is_paused_says_so() -> None:
    async with TestEnv() as env:
        schedule = await env.client.schedules.create("nightly", sleeping.bind(), every="1h", overlap="queue")
        await env.advance("3h")
        await schedule.pause(note="a bad day")
        (run,) = (await env.client.runs.list()).runs
        why = await env.client.runs.why(run.run_id)
    assert [one.kind for one in why.reasons] == ["sleeping", "schedule_paused", "slots_behind"]
    assert why.reasons[1].facts["note"] == "a bad day"
    assert why.reasons[2].facts["count"] == 2


async def test_who_waits_for_the_key_of_a_task_is_told_who_has_it() -> None:
    async with TestEnv() as env:
        owner = await env.enqueue(sharing)
        waiter = await env.enqueue(sharing)
        why = await waiter.why()
    assert (why.reasons[0].kind, why.path) == ("key", [waiter.run_id, owner.run_id])
    assert f"for key 'order-1' of task fail, which run {owner.run_id} has" in why.sentence


async def test_there_is_no_why_of_a_run_that_does_not_exist() -> None:
    async with TestEnv() as env:
        with pytest.raises(NotFound, match="does not exist"):
            await env.client.runs.why("0190b0a0-0000-7000-8000-000000000001")
