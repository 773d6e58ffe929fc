"""The lease and the start of tasks: nothing begins while it is uncertain, and nothing is forgotten afterwards."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

import pytest

from aiki.core.states import Event
from aiki.run import WorkflowRun
from aiki.task import task
from aiki.workflow import workflow
from tests.model.execution_host import World, simulate

asked: list[str] = []


@task
async def work() -> int:
    asked.append("body")
    return 1


@task
def work_in_thread() -> int:
    asked.append("body")
    return 1


@workflow
async def one_task(run: WorkflowRun) -> int:
    return await work.run(run)


@workflow
async def one_thread(run: WorkflowRun) -> int:
    return await work_in_thread.run(run)


class Flickering(World):
    """A worker whose lease is certain or not at each look, as scripted, and then for good."""

    answers: deque[bool]

    def may_start(self) -> bool:
        certain = self.answers.popleft() if self.answers else True
        asked.append("certain" if certain else "uncertain")
        return certain


def looks(answers: Iterable[bool]) -> list[str]:
    """Run one task to its end with these answers; return the looks up to its body."""

    async def scenario() -> None:
        world = Flickering(one_task)
        world.answers = deque(answers)
        end = await asyncio.wait_for(world.finish(), 60)
        assert end.event is Event.COMPLETE
        assert world.ends == [Event.COMPLETE]

    asked.clear()
    simulate(scenario())
    return asked


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [False],
        [False, False, False],
        # Certain when the task is let go, uncertain when its body is about to be called.
        [True, False],
        [True, False, False, True, False],
    ],
)
def test_a_body_begins_once_and_only_right_after_a_certain_look(answers: list[bool]) -> None:
    seen = looks(answers)
    assert seen.count("body") == 1
    assert seen[seen.index("body") - 1] == "certain"


def test_a_thread_looks_for_itself() -> None:
    async def scenario() -> None:
        world = Flickering(one_thread)
        world.answers = deque([True, False])
        while world.execution is None or asked.count("uncertain") == 0:
            if world.execution is None:
                world.claim()
            await asyncio.sleep(0)
        assert "body" not in asked
        world.execution.drop()

    asked.clear()
    asyncio.run(scenario())
