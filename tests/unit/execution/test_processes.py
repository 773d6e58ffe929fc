"""Tasks in processes: the processes that they start, the ends that they come to, and the waits that count or do not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution import Pools
from aiki.execution.tasks.processes import Child, Processes
from aiki.execution.tasks.threads import Threads
from aiki.inside.workflow_run import WorkflowRun
from tests.servers import is_alive
from tests.unit.execution import family_tasks
from tests.unit.execution.ends_when_imported import never
from tests.unit.execution.slow_to_import import quick_in_slow_process
from tests.waiting import patient, wait_until_sync
from tests.worlds.world import World


class Processes1(Processes):
    """One child, of which the next few that are borrowed end before they hear of their work."""

    def __init__(self) -> None:
        super().__init__(1)
        self.unlucky = 0

    def borrow(self) -> Child:
        child = super().borrow()
        if self.unlucky:
            self.unlucky -= 1
            child.kill()
        return child


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes1]:
    made = Processes1()
    yield made
    made.close()


@pytest.fixture
def pools(processes: Processes1) -> Iterator[Pools]:
    made = Pools(processes=processes)
    yield made
    made.threads.close()


def finish(flow: Workflow[Any, Any], pools: Pools) -> Any:
    """Return the result, or how the run failed."""

    async def main() -> Any:
        async with asyncio.timeout(patient(20)):
            end = await World(flow, pools=pools).finish()
        return json.loads(bytes(end.output if end.move is Move.COMPLETE else end.error))

    return asyncio.run(main())


def call(chosen: Task[Any, Any], *args: Any, pools: Pools) -> Any:
    @workflow(name="calls", version="1")
    async def calls(run: WorkflowRun) -> Any:
        return await chosen.run(run, *args)

    return finish(calls, pools)


# -- what they start


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("of", [family_tasks.in_pool, family_tasks.in_executor], ids=["Pool", "ProcessPoolExecutor"])
def test_a_task_may_have_processes_of_its_own(of: Task[Any, Any], method: str, pools: Pools) -> None:
    assert call(of, method, pools=pools) == [0, 2, 4]


def test_a_task_may_run_programs(pools: Pools) -> None:
    assert call(family_tasks.in_program, "hello", pools=pools) == "hello\n"


def numbers_in(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()]


def have_ended(pids: list[int]) -> bool:
    return not any(is_alive(pid) for pid in pids)


def test_a_timeout_ends_what_the_task_has_started_too(pools: Pools, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    error = call(family_tasks.leaves_programs_and_hangs, str(path), pools=pools)
    assert "no result within 1 s" in error["message"]
    wait_until_sync(lambda: have_ended(numbers_in(path)), what="the end of them all")


def test_what_a_task_has_left_ends_with_its_child(tmp_path: Path) -> None:
    pools, path = Pools(processes=Processes(1)), tmp_path / "pids"
    call(family_tasks.leaves_programs, str(path), pools=pools)
    child, in_group, in_own_session = numbers_in(path)
    assert is_alive(in_group)
    pools.close()
    wait_until_sync(lambda: have_ended([child, in_group]), what="the end of the child's group")
    assert is_alive(in_own_session), "who gives it a session of its own means it to go on"
    os.kill(in_own_session, signal.SIGKILL)


def test_a_fork_of_a_task_answers_nothing_for_it(pools: Pools) -> None:
    assert call(family_tasks.forks_and_returns_twice, pools=pools) == 1
    assert call(family_tasks.in_program, "next", pools=pools) == "next\n"


# -- the ends that they come to


@pytest.mark.parametrize(
    ("how", "words"),
    [("exit", "ended with exit code 7"), ("abort", "was ended by SIGABRT"), ("kill", "was killed by SIGKILL (as")],
)
def test_the_end_of_a_child_in_the_middle_of_a_task_is_named(how: str, words: str, pools: Pools) -> None:
    error = call(family_tasks.ends, how, pools=pools)
    assert f"ProcessDied: the task's process {words}" in error["message"]


def test_the_end_of_a_child_is_seen_while_another_process_holds_its_pipe_open(pools: Pools, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    error = call(family_tasks.ends_beside_a_holder_of_its_pipes, str(path), pools=pools)
    assert "ended with exit code 7" in error["message"]
    wait_until_sync(lambda: have_ended(numbers_in(path)), what="the end of the holder")


def test_a_task_that_closes_the_pipe_fails(pools: Pools) -> None:
    error = call(family_tasks.closes_everything, pools=pools)
    assert "ProcessDied: the task's process ended" in error["message"]
    assert call(family_tasks.in_program, "next", pools=pools) == "next\n"


@pytest.mark.parametrize("options", [{"retry": Retry.none()}, {"at_most_once": True}], ids=["once", "at most once"])
def test_a_child_that_ends_before_its_task_begins_costs_no_attempt(
    options: dict[str, Any], processes: Processes1, pools: Pools
) -> None:
    decorate: Any = task
    processes.unlucky = 2
    made = decorate(executor="process", **options)(family_tasks.in_program.fn)
    assert call(made, "hello", pools=pools) == "hello\n"
    assert processes.unlucky == 0


def test_a_module_that_ends_each_child_that_imports_it_fails_the_task(pools: Pools) -> None:
    assert "ended with exit code 9 before the task began" in call(never, pools=pools)["message"]


def test_the_end_of_the_worker_ends_children_at_work(tmp_path: Path) -> None:
    pools = Pools(processes=Processes(1))

    async def main() -> None:
        @workflow(name="hangs", version="1")
        async def hangs(run: WorkflowRun) -> None:
            await family_tasks.leaves_programs_and_hangs.options(timeout="1h").run(run, str(path))

        world = World(hangs, pools=pools)
        world.claim()
        await asyncio.to_thread(wait_until_sync, path.exists)
        await asyncio.to_thread(wait_until_sync, lambda: len(numbers_in(path)) == 3)
        pools.close()

    path = tmp_path / "pids"
    asyncio.run(main())
    wait_until_sync(lambda: have_ended(numbers_in(path)), what="the end of them all")


# -- signals


def test_a_stop_that_comes_to_the_child_as_well_ends_no_task(pools: Pools) -> None:
    first = call(family_tasks.hears_stops, pools=pools)
    assert call(family_tasks.hears_stops, pools=pools) == first


def test_what_a_task_starts_hears_stops_as_ever(pools: Pools) -> None:
    assert call(family_tasks.stops_what_it_starts, pools=pools) == [-15, -15]


def test_handlers_that_a_task_sets_are_gone_with_it(pools: Pools) -> None:
    call(family_tasks.minds_stops, pools=pools)
    assert isinstance(call(family_tasks.hears_stops, pools=pools), int)


# -- waits


def test_the_start_of_a_child_is_no_part_of_the_timeout(pools: Pools) -> None:
    """Its module takes longer to import than the task may."""
    assert call(quick_in_slow_process, pools=pools) == "done"


def test_plain_tasks_do_not_wait_behind_process_tasks(processes: Processes1, tmp_path: Path) -> None:
    """The gate of the process tasks is opened by the plain one that was called last."""

    @task(retry=Retry.none())
    def opens() -> None:
        (tmp_path / "gate").touch()

    @workflow(name="opens-last", version="1")
    async def opens_last(run: WorkflowRun) -> list[int]:
        gated = [family_tasks.gated.run(run, str(tmp_path / "gate")) for _ in range(5)]
        *pids, _ = await asyncio.gather(*gated, opens.run(run))
        return [pid for pid in pids if pid is not None]

    pools = Pools(threads=Threads(2), processes=processes)
    pids = finish(opens_last, pools)
    assert len(set(pids)) == 1, "there is one child, and it has carried them all out"
    pools.threads.close()
