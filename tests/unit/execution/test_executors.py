"""Where tasks run: in threads and in processes, and what they know of their run there."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from aiki.core.errors import UsageError
from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Pools
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution import process_tasks
from tests.unit.execution.calling import calling, finish_outside
from tests.waiting import patient

SECOND = 1_000_000


def test_a_plain_function_runs_in_a_thread_and_knows_its_run(pools: Pools) -> None:
    @task
    def where(number: int) -> tuple[str, int, int]:
        return threading.current_thread().name, number, task_run().attempt

    output = finish_outside(calling(where, 7), pools)
    assert output.startswith('[["aiki-task-')
    assert output.endswith(",7,1]]")


def test_a_process_task_runs_in_a_process_that_is_used_again(pools: Pools) -> None:
    @workflow(name="processes", version="1")
    async def processes(run: WorkflowRun) -> list[tuple[int, int, str]]:
        return [await process_tasks.where.run(run, number) for number in range(2)]

    first, second = json.loads(finish_outside(processes, pools))
    assert first[0] == second[0] != os.getpid()
    assert (first[1], second[1]) == (0, 1)
    assert len(first[2]) == 32
    assert first[2] != second[2]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_task_is_killed_at_its_timeout(pools: Pools, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    # The timeout counts from the try's beginning, and the first process has to start: a try before warms it up.
    finish_outside(calling(process_tasks.where, 1), pools)
    output = finish_outside(calling(process_tasks.spin, str(path)), pools)
    assert output == '["TaskFailed","TaskTimeout","no result within 0.3 s",1]'
    pools.close()
    assert path.exists()
    deadline = time.monotonic() + patient(10)
    while is_alive(int(path.read_text())):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_process_that_dies_is_a_failed_attempt(pools: Pools) -> None:
    output = finish_outside(calling(process_tasks.die), pools)
    assert output == '["TaskFailed","ProcessDied","the task\'s process ended with exit code 3 in the middle of it",2]'


def test_a_process_that_died_between_two_tasks_costs_no_attempt(pools: Pools) -> None:
    def run_once() -> int:
        return int(json.loads(finish_outside(calling(process_tasks.where, 1), pools))[0][0])

    first = run_once()
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert run_once() != first


def test_fatal_is_final_in_a_process_too(pools: Pools) -> None:
    assert finish_outside(calling(process_tasks.refuse), pools) == '["TaskFailed","Fatal","not even once more",1]'


def test_a_process_task_inside_a_function_is_refused(pools: Pools) -> None:
    @task(executor="process", retry=Retry.none())
    def local() -> None:
        return None

    assert "defined inside a function" in finish_outside(calling(local), pools)


def test_task_run_outside_of_a_task_is_refused() -> None:
    with pytest.raises(UsageError):
        task_run()
