"""A program without `if __name__ == "__main__":` whose tasks have processes, each of which imports it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from aiki import Client
from tests.servers import Program
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

PROGRAM = """
import asyncio
from aiki import Client, Retry, Worker, WorkflowRun, task, workflow


@task(executor="process", retry=Retry.none())
def apart() -> None:
    pass


@workflow
async def unguarded(run: WorkflowRun) -> None:
    await apart.run(run)


async def main() -> None:
    async with Client.connect() as client, Worker(client, workflows=[unguarded]):
        await (await unguarded.enqueue(client)).result()


asyncio.run(main())
"""


async def test_its_tasks_fail_and_say_how_to_guard_it(client: Client, aiki_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program = Program([sys.executable, "program.py"], tmp_path, name="program", env=aiki_env, cwd=tmp_path)
    program.start()
    try:
        async with asyncio.timeout(patient(20)):
            await wait_until(lambda: has_failed(client), patient(20), what="the end of its run")
        assert 'hint: if __name__ == "__main__": asyncio.run(main())' in program.logged()
        (run,) = (await client.runs.list()).runs
        assert "ended with exit code 1 before the task began" in str(run.error)
    finally:
        program.close()


async def has_failed(client: Client) -> bool:
    """Tell whether there is a run, and it is over."""
    return [run.state for run in (await client.runs.list()).runs] == ["failed"]
