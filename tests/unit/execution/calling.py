"""Workflows that call one task, run to their end: with virtual time, or in real time for threads and processes."""

from __future__ import annotations

import asyncio
from typing import Any

from aiki.core.errors import TaskFailed
from aiki.core.states import Move
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution import Pools
from aiki.inside.task_run import TaskRun, task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


class Flaky:
    """A task that fails as often as it is told to, and remembers its tries."""

    def __init__(self, *errors: BaseException | type[BaseException], **options: Any) -> None:
        self.errors = list(errors)
        self.tries: list[TaskRun] = []
        self.times: list[float] = []
        self.task: Task[Any, Any] = task(name="flaky", **options)(self._make())

    def _make(self) -> Any:
        async def flaky() -> str:
            self.tries.append(task_run())
            self.times.append(asyncio.get_running_loop().time())
            if self.errors:
                raise self.errors.pop(0)
            return "done"

        return flaky


def calling(chosen: Task[Any, Any], *args: Any) -> Workflow[Any, Any]:
    """Return a workflow that calls the task, and returns its result or how it failed."""

    @workflow(name="calling", version="1")
    async def calls(run: WorkflowRun) -> list[Any]:
        try:
            result = await chosen.run(run, *args)
            return [list(result) if isinstance(result, tuple) else result]
        except TaskFailed as error:
            return [type(error).__name__, error.type, error.message, error.attempts]

    return calls


def finish(flow: Workflow[Any, Any], **options: Any) -> tuple[World, str]:
    async def main() -> tuple[World, str]:
        world = World(flow, **options)
        end = await world.finish()
        assert end.move is Move.COMPLETE, bytes(end.error)
        return world, bytes(end.output).decode()

    return simulate(main())


def finish_outside(flow: Workflow[Any, Any], pools: Pools) -> str:
    """The same in real time, for threads and processes."""
    end = end_outside(flow, pools)
    assert end.move is Move.COMPLETE, bytes(end.error)
    return bytes(end.output).decode()


def end_outside(flow: Workflow[Any, Any], pools: Pools) -> End:
    async def main() -> End:
        return await World(flow, pools=pools).finish()

    return asyncio.run(main())
