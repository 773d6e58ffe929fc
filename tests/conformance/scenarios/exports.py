"""Scenarios of what is read of a run to be replayed elsewhere: what its next claim would bring, and its story."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from aiki import Event, RunFilter, WorkflowRun, task, workflow
from aiki.wire.codec import encode
from tests.conformance.stage import Stage, scenario

go = Event("go", type=str)


@task
async def note(what: str) -> str:
    return what


@workflow
async def one(run: WorkflowRun, number: int) -> int:
    return number


@workflow
async def steps(run: WorkflowRun, number: int) -> list[Any]:
    got: list[Any] = [await note.run(run, "one"), await one.run(run, number)]
    await run.sleep("1h")
    return [*got, await run.wait_for(go), await note.run(run, "two")]


async def recorded(stage: Stage, *run_ids: str) -> list[str]:
    """Return what is read of runs, but for what tells of their claims."""
    found = []
    async for run in stage.client.runs.export(run_ids, history=True):
        claimed, story = run.exported.run, [item for item in run.history if item.key is not None]
        exported = replace(run.exported, run=replace(claimed, fence=replace(claimed.fence, epoch=0), claims=0))
        parts = (exported, run.entries, run.tries, run.ends, run.unread, story)
        found += [encode(part).decode() for part in parts]
    return found


@scenario(steps, one)
async def a_run_is_exported_alike_in_each_of_its_states(stage: Stage) -> list[list[str]]:
    handle = await stage.client.enqueue(steps.options(labels={"tenant": "a"}, priority=2).bind(7))
    await stage.settle()
    told = [await recorded(stage, handle.run_id)]
    await handle.send(go, "early")
    await stage.advance("1h")
    await stage.settle()
    told += [await recorded(stage, handle.run_id)]
    assert await handle.result() == ["one", 7, "early", "two"]
    ids = [run.run_id async for run in stage.client.runs.export(RunFilter())]
    assert len(ids) == 2
    assert len(told[1]) == 6
    return told
