"""A worker that is held up by a task loses its lease, and says why and what helps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aiki import Client
from tests.integration.worker.test_killed_worker import WORKER, knows
from tests.servers import Program
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

FLOWS = """
import ctypes
from pathlib import Path
from aiki import WorkflowRun, task, workflow


@task
def holds_up(sign: str) -> str:
    if not Path(sign).exists():
        Path(sign).touch()
        ctypes.PyDLL(None).usleep(2_500_000)  # a call of C code that keeps the interpreter's lock
    return "done"


@workflow
async def counting(run: WorkflowRun, sign: str) -> str:
    return await holds_up.run(run, sign)
"""


async def test_a_worker_whose_task_held_the_interpreters_lock_names_the_remedy(
    client: Client, aiki_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "worker.py").write_text(WORKER.replace("workflows=[counting]", 'workflows=[counting], lease="1s"'))
    env = {**aiki_env, "PYTHONHASHSEED": "0"}
    worker = Program([sys.executable, "worker.py"], tmp_path, name="worker", env=env, cwd=tmp_path)
    worker.start()
    try:
        await wait_until(lambda: knows(client), what="the worker's session")
        handle = await client.enqueue("counting", {"sign": str(tmp_path / "sign")})
        assert await handle.result(timeout=ENOUGH) == "done"
        reasons = [item.reason or "" async for item in client.runs.history(handle.run_id)]
        assert any("lost its lease" in reason for reason in reasons)
        await wait_until(lambda: '@task(executor="process")' in worker.logged(), what="the worker's word")
    finally:
        worker.close()
