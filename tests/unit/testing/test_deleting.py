"""The engine in memory deletes by the rules that aikid deletes by."""

from __future__ import annotations

import pytest

from aiki import Conflict, NotFound, WorkflowRun, task, workflow
from aiki.client.deleting import DeletedRun
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio


@workflow
async def leaf(run: WorkflowRun, n: int) -> int:
    return n


@workflow
async def parent(run: WorkflowRun, fails: bool) -> int:
    found = await leaf.run(run, 1)
    await broken.run(run, fails)
    return found


@task
async def broken(fails: bool) -> None:
    if fails:
        raise ValueError("broken")


async def test_a_run_goes_with_its_children_and_a_child_stays_for_its_parent() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(parent, False)
        assert await handle.result() == 1
        kept = await env.enqueue(leaf, 2)
        await kept.result()
        (preview,) = await env.client.runs.delete([handle.run_id], preview=True)
        assert preview == DeletedRun(handle.run_id, 2)
        (gone,) = await env.client.runs.delete([handle.run_id])
        assert gone == preview
        assert [run.run_id for run in (await env.client.runs.list()).runs] == [kept.run_id]
        with pytest.raises(NotFound):
            await handle.status()


async def test_what_may_be_read_again_or_goes_on_stays() -> None:
    async with TestEnv() as env:
        env.mock(broken).fails(ValueError("broken"))
        handle = await env.enqueue(parent, True)
        await env.advance("1h")
        (child,) = (await env.client.runs.list(parent=handle.run_id)).runs
        later = await env.enqueue(leaf.options(delay="1h"), 2)
        held, live = await env.client.runs.delete([child.run_id, later.run_id])
        assert isinstance(held, Conflict)
        assert handle.run_id in held.message
        assert isinstance(live, Conflict)
        assert "only what has ended" in live.message
        child_gone, gone = await env.client.runs.delete([child.run_id, handle.run_id])
        assert [child_gone, gone] == [DeletedRun(child.run_id, 0), DeletedRun(handle.run_id, 2)]
