"""Children with options of their own, as who looks at them sees it: labels, priority, dates and deadlines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aiki import ChildFailed, Client, RunStatus, RunTimedOut, State, Worker, Workflow, WorkflowRun, workflow
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio


@workflow
async def quick(run: WorkflowRun) -> dict[str, Any]:
    return {"labels": dict(run.labels), "key": run.idempotency_key}


@workflow
async def naps(run: WorkflowRun) -> None:
    await run.sleep("1h")


@workflow
async def later(run: WorkflowRun) -> list[dict[str, Any]]:
    delayed = await quick.options(delay="1h", labels={"when": "delayed"}).start(run)
    dated = await quick.options(start_at=run.now() + timedelta(hours=2), labels={"when": "dated"}).start(run)
    return await run.all([delayed, dated])


@workflow
async def bounded(run: WorkflowRun) -> list[str]:
    try:
        await naps.options(timeout="1s", cancel_timeout="0s").run(run)
    except ChildFailed as error:
        return [error.state, error.type]
    return []


@workflow
async def ranks(run: WorkflowRun) -> dict[str, str]:
    children = {
        "same": await naps.options(parent_close="abandon").start(run),
        "boosted": await naps.options(parent_close="abandon", priority=9).start(run),
        "plain": await naps.options(parent_close="abandon", priority=0).start(run),
        "labelled": await naps.options(parent_close="abandon", labels={"said": 'it\'s "so"'}).start(run),
    }
    return {name: child.run_id for name, child in children.items()}


FLOWS: list[Workflow[Any, Any]] = [quick, naps, later, bounded, ranks]


async def children_of(client: Client, parent: str, count: int) -> list[RunStatus]:
    """Return the children of a run once there are so many, the first started first."""

    async def have_come() -> list[RunStatus]:
        found = (await client.runs.list(parent=parent)).runs
        return found[::-1] if len(found) == count else []

    return await wait_until(have_come, what="the children")


async def test_a_child_starts_after_its_delay_or_on_its_date_and_its_parent_waits_for_it(client: Client) -> None:
    async with Worker(client, workflows=FLOWS, linger="0s"):
        handle = await later.enqueue(client)
        delayed, dated = await children_of(client, handle.run_id, 2)
        assert {delayed.state, dated.state} == {State.SCHEDULED}
        assert delayed.due_at is not None
        assert dated.due_at is not None
        assert timedelta(minutes=59) < dated.due_at - delayed.due_at < timedelta(minutes=61)
        assert [run.run_id for run in (await client.runs.list(labels={"when": "dated"})).runs] == [dated.run_id]
        for child in (delayed, dated):
            await client.runs.wake(child.run_id)
        whens = [one["labels"]["when"] for one in await handle.result(timeout=ENOUGH)]
        assert whens == ["delayed", "dated"]


async def test_a_child_has_its_own_deadline_which_its_parent_hears_of(client: Client) -> None:
    async with Worker(client, workflows=FLOWS):
        handle = await bounded.enqueue(client)
        (child,) = await children_of(client, handle.run_id, 1)
        assert child.deadline is not None
        assert (await handle.status()).deadline is None
        assert await handle.result(timeout=ENOUGH) == ["failed", RunTimedOut.__name__]


async def test_a_child_has_the_priority_of_its_parent_unless_it_has_its_own_and_no_labels_but_its_own(
    client: Client,
) -> None:
    async with Worker(client, workflows=FLOWS):
        handle = await ranks.options(priority=-5, labels={"team": "a"}).enqueue(client)
        ids = await handle.result(timeout=ENOUGH)
    found = dict(zip(ids, await client.runs.status(ids.values()), strict=True))
    assert {name: run.priority for name, run in found.items()} == {"same": -5, "boosted": 9, "plain": 0, "labelled": -5}
    assert {name: run.labels for name, run in found.items() if run.labels} == {"labelled": {"said": 'it\'s "so"'}}
    await client.runs.cancel_batch(ids.values(), force=True)
