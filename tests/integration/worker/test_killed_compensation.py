"""A worker that is killed while a cancelled run takes back what it did: the next one goes on where it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aiki import Client
from tests.servers import Program
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

FLOWS = """
import asyncio
from pathlib import Path
from aiki import WorkflowRun, task, workflow


@task
async def take_back(directory: str, step: int) -> None:
    with (Path(directory) / "steps").open("a") as steps:
        steps.write(f"{step}")
    while step == 2 and not (Path(directory) / "go").exists():
        await asyncio.sleep(0.01)


@workflow
async def order(run: WorkflowRun, directory: str) -> None:
    try:
        await run.sleep("1h")
    except asyncio.CancelledError:
        for step in (1, 2, 3):
            await take_back.run(run, directory, step)
        raise
"""
WORKER = """
import asyncio
from aiki import Client, Worker
from flows import order


async def main() -> None:
    async with Client.connect() as client, Worker(client, workflows=[order], lease="1s") as worker:
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_compensation_goes_on_where_the_killed_worker_was(
    client: Client, aiki_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "worker.py").write_text(WORKER)
    steps = tmp_path / "steps"
    steps.touch()
    env = {**aiki_env, "PYTHONHASHSEED": "0"}
    workers = [
        Program([sys.executable, "worker.py"], tmp_path, name=name, env=env, cwd=tmp_path) for name in ("one", "two")
    ]
    try:
        workers[0].start()
        await wait_until(lambda: knows(client), what="the worker's session")
        handle = await client.enqueue("order", {"directory": str(tmp_path)})
        await wait_until(lambda: sleeps(client, handle.run_id), what="the run's sleep", seconds=30)
        assert (await handle.cancel()).state.value in ("queued", "running")
        await wait_until(lambda: steps.read_text() == "12", what="the middle of the compensation")
        workers[0].kill9()
        (tmp_path / "go").touch()
        workers[1].start()
        run = await handle.cancel(wait=ENOUGH)
        assert (run.state.value, steps.read_text()) == ("cancelled", "1223")
    finally:
        for worker in workers:
            worker.close()


async def knows(client: Client) -> bool:
    """Tell whether a worker has registered its workflows."""
    return bool(await client.workflows.list())


async def sleeps(client: Client, run_id: str) -> bool:
    """Tell whether the run has left memory."""
    (run,) = await client.runs.status([run_id])
    return run.state.value == "sleeping"
