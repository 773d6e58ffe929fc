"""A body that walks through a set of text, in workers of one's own that are started without `aiki worker`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiki import Client, RunBlocked, State
from tests.servers import Program
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

WORKER = """
import asyncio
import sys

from aiki import Client, Worker, WorkflowRun, task, workflow


@task
async def say(word: str) -> str:
    return word


@workflow
async def walks(run: WorkflowRun) -> int:
    words = {f"word {n}" for n in range(20)}
    for number, word in enumerate(words):
        await say.run(run, word)
        if number == 10:
            await run.sleep("500ms")
    return len(words)


async def main() -> None:
    async with Client.connect() as client, Worker(client, workflows=[walks], linger="0s") as worker:
        print("ready", file=sys.stderr)
        await worker.run()


asyncio.run(main())
"""
Start = Callable[[str], Program]


@pytest.fixture
def start(aiki_env: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start a worker whose PYTHONHASHSEED is as given."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    started: list[Program] = []

    def starts(seed: str) -> Program:
        env = {**aiki_env, "PYTHONHASHSEED": seed}
        made = Program([sys.executable, str(script)], tmp_path, name=f"worker{len(started)}", env=env, cwd=tmp_path)
        started.append(made)
        made.start()
        made.wait_for_log("ready")
        return made

    yield starts
    for one in started:
        one.close()


async def interrupted(client: Client, start: Start, seeds: tuple[str, str]) -> object:
    """Run `walks` in a worker until it has recorded something, then in another one; return its result."""
    first = start(seeds[0])
    handle = await client.enqueue("walks", {})

    async def sleeps() -> Any:
        return (await handle.status()).state is State.SLEEPING

    await wait_until(sleeps, what="its sleep")
    first.kill9()
    start(seeds[1])
    return await handle.result(timeout=ENOUGH)


async def test_with_seeds_that_differ_the_run_is_blocked_and_the_diff_names_the_cause(
    client: Client, start: Start
) -> None:
    with pytest.raises(RunBlocked, match="Start all workers with PYTHONHASHSEED=0, then resume the run"):
        await interrupted(client, start, ("1", "2"))


async def test_with_seed_0_it_goes_on(client: Client, start: Start) -> None:
    assert await interrupted(client, start, ("0", "0")) == 20


@pytest.mark.parametrize(("seed", "warnings"), [("0", 0), ("1", 1), ("random", 1)])
async def test_a_worker_in_code_warns_once_at_its_start_unless_the_seed_is_0(
    start: Start, seed: str, warnings: int
) -> None:
    assert start(seed).logged().count("start this program with PYTHONHASHSEED=0") == warnings
