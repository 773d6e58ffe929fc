"""Ctrl-C and a worker in code: it drains without a traceback, if the program has left Ctrl-C to it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import Program
from tests.waiting import wait_until_sync

HEAD = """
import asyncio, sys
from pathlib import Path
from aiki import Client, Worker, WorkflowRun, task, workflow

@task
async def hold() -> str:
    Path("begun").touch()
    while not Path("gate").exists():
        await asyncio.sleep(0.02)
    return "open"

@workflow
async def held(run: WorkflowRun) -> str:
    return await hold.run(run)

async def serve():
    async with Client.connect() as client, Worker(client, workflows=[held]) as worker:
        await held.enqueue(client)
        await worker.run()
    print("drained", flush=True)
"""


@pytest.fixture
def program(aiki_env: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    """Start a program that serves, once a task of it has begun."""
    started: list[Program] = []

    def start(rest: str) -> Program:
        command = [sys.executable, "-c", HEAD + rest]
        one = Program(command, tmp_path, name="program", env={**aiki_env, "PYTHONHASHSEED": "0"}, cwd=tmp_path)
        started.append(one)
        one.start()
        wait_until_sync((tmp_path / "begun").exists, 30, what="the task")
        return one

    yield start
    for one in started:
        one.close()


def interrupt(program: Program) -> None:
    assert program.process is not None
    program.process.send_signal(signal.SIGINT)


def test_ctrl_c_drains_a_worker_that_is_the_programs_main_task(program, tmp_path):
    one = program("asyncio.run(serve())")
    interrupt(one)
    one.wait_for_log("draining for at most 30 s")
    (tmp_path / "gate").touch()
    assert one.wait() == 0
    assert one.printed() == "drained\n"
    assert "Traceback" not in one.logged()


def test_a_second_ctrl_c_ends_it_at_once(program):
    one = program("asyncio.run(serve())")
    interrupt(one)
    one.wait_for_log("draining for at most 30 s")
    assert one.terminate(signal.SIGINT) == 130
    assert "Traceback" not in one.logged()


def test_ctrl_c_is_the_programs_own_where_the_worker_is_one_task_of_several(program, tmp_path):
    (tmp_path / "gate").touch()
    one = program(
        """
async def main():
    try:
        await asyncio.gather(serve(), asyncio.sleep(3600))
    except asyncio.CancelledError:
        print("cancelled", flush=True)

asyncio.run(main())
"""
    )
    interrupt(one)
    assert one.wait() == 0
    assert "cancelled" in one.printed()
    assert "drained" not in one.printed()
