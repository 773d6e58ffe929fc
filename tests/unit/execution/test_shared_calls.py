"""Calls that have one idempotency key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.errors import Conflict
from aiki.definitions.task import Task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import again, calls, output, run, slow


def keyed(key: str) -> Task[Any, Any]:
    return slow.options(idempotency_key=key)


def test_calls_with_one_idempotency_key_share_one_execution() -> None:
    @workflow(name="shared", version="1")
    async def shared(run: WorkflowRun) -> list[int]:
        both = await asyncio.gather(keyed("k").run(run, 7), keyed("k").run(run, 7))
        return [*both, await keyed("k").run(run, 7)]

    world = run(shared)
    assert output(world) == "[7,7,7]"
    assert calls == ["slow 7"]
    assert [entry.key for entry in world.journal] == ["task:slow@k"]
    assert output(again(world)) == "[7,7,7]"


def test_an_idempotency_key_with_another_input_is_a_conflict() -> None:
    @workflow(name="conflict", version="1")
    async def conflict(run: WorkflowRun) -> str:
        await keyed("k").run(run, 7)
        with pytest.raises(Conflict):
            await keyed("k").run(run, 8)
        return "told"

    assert output(run(conflict)) == '"told"'


def test_a_shared_call_is_abandoned_when_its_last_caller_leaves() -> None:
    @workflow(name="leaving", version="1")
    async def leaving(run: WorkflowRun) -> str:
        first = asyncio.create_task(keyed("k").run(run, 7))
        second = asyncio.create_task(keyed("k").run(run, 7))
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.sleep(1)
        assert not second.done()
        second.cancel()
        await asyncio.sleep(1)
        return "left"

    world = run(leaving)
    assert output(world) == '"left"'
    assert [entry.key for entry in world.journal] == ["timer:1"] * 3
