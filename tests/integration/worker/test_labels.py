"""Labels that a body sets, on real servers: lists go by them at once, and they are the same after a kill."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiki import Client
from tests.integration.worker.test_killed_worker import WORKER, knows
from tests.servers import Program
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

FLOWS = """
import asyncio
from pathlib import Path
from aiki import WorkflowRun, task, workflow


@task
async def hold(gate: str) -> None:
    while not Path(gate).exists():
        await asyncio.sleep(0.02)


@workflow
async def counting(run: WorkflowRun, gate: str) -> list[dict[str, str]]:
    seen = [dict(run.labels)]
    run.set_labels({"stage": "printing", "team": None})
    seen.append(dict(run.labels))
    await hold.run(run, gate)
    run.set_labels({"stage": "printed"})
    return [*seen, dict(run.labels)]
"""


@pytest.fixture
async def worker(client: Client, aiki_env: dict[str, str], tmp_path: Path) -> AsyncIterator[Program]:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "worker.py").write_text(WORKER.replace("[counting])", "[counting], lease='1s')"))
    env = {**aiki_env, "PYTHONHASHSEED": "0"}
    made = Program([sys.executable, "worker.py"], tmp_path, name="worker", env=env, cwd=tmp_path)
    made.start()
    try:
        await wait_until(lambda: knows(client), what="the worker's session")
        yield made
    finally:
        made.close()


async def test_labels_of_a_body_are_listed_at_once_and_outlive_its_worker(
    client: Client, worker: Program, tmp_path: Path
) -> None:
    async def found(**labels: str) -> list[str]:
        return [run.run_id for run in (await client.runs.list(labels=labels)).runs]

    async def is_claimed_again() -> bool:
        return (await client.handle(run_id).status()).claims == 2

    first, second, third = {"stage": "new", "team": "a"}, {"stage": "printing"}, {"stage": "printed"}
    gate = tmp_path / "gate"
    handle = await client.enqueue("counting", {"gate": str(gate)}, labels=first)
    run_id = handle.run_id
    await wait_until(lambda: found(**second), what="the run by its new label")
    assert await found(**first) == await found(team="a") == []
    worker.kill9()
    worker.start()
    await wait_until(is_claimed_again, what="the next claim")
    gate.touch()
    assert await handle.result(timeout=ENOUGH) == [first, second, third]
    assert (await found(**third), await found(**second)) == ([run_id], [])
    entries = [item async for item in client.runs.history(run_id) if item.move == "entry"]
    assert [item.key and item.key.partition(":")[0] for item in entries] == ["labels", "task", "labels"]
