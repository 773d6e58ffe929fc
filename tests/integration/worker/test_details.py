"""What a run shows of itself, on real servers: in each state, after a kill and after its end."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aiki import Client, Event, Worker, WorkflowRun, workflow
from tests.integration.worker.test_killed_worker import WORKER, knows
from tests.servers import Program
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

approved = Event("approved")

FLOWS = """
import asyncio
from pathlib import Path
from aiki import WorkflowRun, task, workflow


@task
async def hold(gate: str) -> None:
    while not Path(gate).exists():
        await asyncio.sleep(0.02)


@workflow
async def counting(run: WorkflowRun, gate: str) -> str:
    run.set_details({"step": 1})
    await hold.run(run, gate + "1")
    run.set_details({"step": 2})
    await hold.run(run, gate + "2")
    return "done"
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


async def test_a_status_holds_the_last_details_in_memory_outside_of_it_and_after_the_end(client: Client) -> None:
    @workflow
    async def asks(run: WorkflowRun) -> None:
        run.set_details({"asks": "whether"})
        run.set_details({"asks": "who", "text": "é\u2028"})
        await run.wait_for(approved)
        run.set_details({"asks": None})

    async def details() -> Any:
        return (await handle.status()).details

    async def is_waiting() -> bool:
        return (await handle.status()).state == "waiting"

    handle = await asks.enqueue(client)
    assert await details() is None
    async with Worker(client, workflows=[asks], linger="1s"):
        asked = {"asks": "who", "text": "é\u2028"}
        assert await wait_until(details, what="what it shows") == asked
        await wait_until(is_waiting, what="that it leaves memory")
        assert await details() == asked
        await handle.send(approved)
        await handle.result(timeout=ENOUGH)
    assert await details() == {"asks": None}
    assert [run.details for run in (await client.runs.list()).runs] == [None]
    assert "attempt" not in [item.move async for item in client.runs.history(handle.run_id)], "it is no try of a task"


async def test_what_a_run_shows_outlives_its_worker_and_the_next_one_goes_on_from_there(
    client: Client, worker: Program, tmp_path: Path
) -> None:
    async def shows(step: int) -> bool:
        return (await handle.status()).details == {"step": step}

    gate = tmp_path / "gate"
    handle = await client.enqueue("counting", {"gate": str(gate)})
    await wait_until(lambda: shows(1), what="the first step")
    (tmp_path / "gate1").touch()
    await wait_until(lambda: shows(2), what="the second step")
    worker.kill9()
    assert await shows(2)
    worker.start()
    await wait_until(lambda: _is_claimed_again(client, handle.run_id), what="the next claim")
    assert await shows(2)
    (tmp_path / "gate2").touch()
    assert await handle.result(timeout=ENOUGH) == "done"
    assert await shows(2)


async def _is_claimed_again(client: Client, run_id: str) -> bool:
    status = await client.handle(run_id).status()
    return status.claims == 2 and status.state == "running"
