"""Signs of life on real servers: what a task has said outlives its worker, and a worker that stops is no silence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aiki import Client, Worker, WorkflowRun, task, task_run, workflow
from tests.integration.worker.test_killed_worker import WORKER, knows
from tests.servers import Program
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

FLOWS = """
import asyncio
import time
from pathlib import Path
from aiki import Retry, WorkflowRun, task, task_run, workflow


def say(words: str, word: object) -> None:
    with Path(words).open("a") as file:
        file.write(f"{word}\\n")


@task
async def in_coroutine(words: str) -> list[int]:
    run = task_run()
    for row in range(1000 if run.heartbeat_details is None else 0):
        say(words, row)
        run.heartbeat(row)
        await asyncio.sleep(0.01)
    return [run.attempt, run.heartbeat_details]


@task(executor="process")
def in_process(words: str) -> list[int]:
    run = task_run()
    for row in range(1000 if run.heartbeat_details is None else 0):
        say(words, row)
        run.heartbeat(row)
        time.sleep(0.01)
    return [run.attempt, run.heartbeat_details]


@task(heartbeat_timeout="1s", retry=Retry.none())
async def beats(words: str) -> list[int]:
    say(words, "begun")
    for number in range(40):
        if number == 5:
            time.sleep(3)  # it is the loop that is blocked, not the task that is silent
        await asyncio.sleep(0.1)
        task_run().heartbeat()
    return [1]


@workflow
async def counting(run: WorkflowRun, words: str, name: str) -> list[int]:
    return await {"coroutine": in_coroutine, "process": in_process, "beats": beats}[name].run(run, words)
"""


@pytest.fixture
async def worker(
    client: Client, aiki_env: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Program]:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "worker.py").write_text(WORKER.replace("[counting])", f"[counting], lease={request.param!r})"))
    env = {**aiki_env, "PYTHONHASHSEED": "0"}
    made = Program([sys.executable, "worker.py"], tmp_path, name="worker", env=env, cwd=tmp_path)
    made.start()
    try:
        await wait_until(lambda: knows(client), what="the worker's session")
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("where", ["coroutine", "process"])
@pytest.mark.parametrize("worker", ["1s"], indirect=True)
async def test_what_a_task_has_said_reaches_the_next_try_though_its_worker_was_killed(
    client: Client, worker: Program, tmp_path: Path, where: str
) -> None:
    words = tmp_path / "words"
    handle = await client.enqueue("counting", {"words": str(words), "name": where})
    await wait_until(lambda: words.exists() and len(words.read_text().split()) > 150, what="more than a second of it")
    worker.kill9()
    said = [int(word) for word in words.read_text().split()]
    worker.start()
    attempt, details = await handle.result(timeout=ENOUGH)
    assert attempt == 1, "numbers count failures"
    # A second is a hundred of them at most, and as much again is for what was on its way.
    assert said[-1] - 200 <= details <= said[-1]
    moves = [item.move async for item in client.runs.history(handle.run_id)]
    assert "attempt" not in moves, "what was said is no failure"


@pytest.mark.parametrize("worker", ["30s"], indirect=True)
async def test_a_worker_that_was_stopped_and_a_loop_that_was_blocked_are_no_silence(
    client: Client, worker: Program, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    handle = await client.enqueue("counting", {"words": str(words), "name": "beats"})
    await wait_until(words.exists, what="the task")
    worker.pause()
    await asyncio.sleep(2)
    worker.resume()
    assert await handle.result(timeout=ENOUGH) == [1]


async def test_a_status_says_how_far_the_tasks_are_that_run_and_forgets_it_when_they_have_ended(client: Client) -> None:
    go_on = asyncio.Event()

    @task
    async def copies() -> None:
        task_run().progress(0.4, "May")
        await go_on.wait()

    @task
    async def says_nothing() -> None:
        task_run().heartbeat("of this only the next try hears")
        await has_been_seen.wait()

    @workflow
    async def moves(run: WorkflowRun) -> None:
        await copies.run(run)
        await says_nothing.run(run)

    async def progress() -> Any:
        status = await handle.status()
        return [(one.task, one.attempt, one.fraction, one.message) for one in status.progress]

    async def has_ended() -> bool:
        return (await handle.status()).tasks == 1

    has_been_seen = asyncio.Event()
    handle = await moves.enqueue(client)
    async with Worker(client, workflows=[moves]):
        assert await wait_until(progress, what="the word of its task") == [("copies", 1, 0.4, "May")]
        go_on.set()
        await wait_until(has_ended, what="the end of the first task")
        assert await progress() == []
        has_been_seen.set()
        await handle.result(timeout=ENOUGH)
