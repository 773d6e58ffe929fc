"""A worker that is killed takes the processes of its tasks along, whatever they are at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from aiki import Client
from tests.servers import Program
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

FLOWS = """
from pathlib import Path
from aiki import WorkflowRun, task, workflow


@task(executor="process")
def counts(sign: str) -> int:
    Path(sign).touch()
    return sum(range(10**12))  # one call of C code: no thread of this process runs until it is over


@workflow
async def counting(run: WorkflowRun, sign: str) -> int:
    return await counts.run(run, sign)
"""
WORKER = """
import asyncio
from aiki import Client, Worker
from flows import counting


async def main() -> None:
    async with Client.connect() as client, Worker(client, workflows=[counting]) as worker:
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_a_task_that_holds_the_interpreters_lock_ends_with_its_worker(
    client: Client, aiki_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "worker.py").write_text(WORKER)
    env = {**aiki_env, "PYTHONHASHSEED": "0"}
    worker = Program([sys.executable, "worker.py"], tmp_path, name="worker", env=env, cwd=tmp_path)
    worker.start()
    try:
        sign = tmp_path / "sign"
        await wait_until(lambda: knows(client), what="the worker's session")
        await client.enqueue("counting", {"sign": str(sign)})
        await wait_until(sign.exists, what="the task in its process")
        worker.kill9()  # waits for the end of its children
    finally:
        worker.close()


async def knows(client: Client) -> Any:
    """Tell whether a worker has registered its workflows."""
    return bool(await client.workflows.list())
