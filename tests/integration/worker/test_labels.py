"""Labels that a body sets, on real servers: lists go by them at once, and they are the same after a kill."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiki import Client, Retry, RunFailed, Worker, WorkflowRun, task, workflow
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


broken = False


@task(retry=Retry.none())
async def press(page: int) -> int:
    if broken and page == 2:
        raise ValueError("out of paper")
    return page


@workflow
async def pressing(run: WorkflowRun) -> list[dict[str, str]]:
    seen = [dict(run.labels)]
    for page in (1, 2):
        run.set_labels({"page": str(page), "new": None})
        seen.append(dict(run.labels))
        await press.run(run, page)
    return seen


@pytest.mark.parametrize("from_task", [None, "press"])
async def test_labels_of_a_retry_are_those_of_the_place_where_it_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch, from_task: str | None
) -> None:
    async def found(**labels: str) -> list[str]:
        return [run.run_id for run in (await client.runs.list(labels=labels)).runs]

    monkeypatch.setitem(globals(), "broken", True)
    async with Worker(client, workflows=[pressing]):
        old = await pressing.options(labels={"new": "yes"}).enqueue(client)
        with pytest.raises(RunFailed, match="out of paper"):
            await old.result(timeout=ENOUGH)
        assert await found(page="2") == [old.run_id]
        monkeypatch.setitem(globals(), "broken", False)
        retry = await old.retry() if from_task is None else await old.retry(from_task=from_task)
        assert await retry.result(timeout=ENOUGH) == [{"new": "yes"}, {"page": "1"}, {"page": "2"}]
    assert await found(page="2") == [retry.run_id, old.run_id]
    assert await found(page="1") == await found(new="yes") == []
