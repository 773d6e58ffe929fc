"""A file is added up by a child for each part of it: with progress, and with what could not be added up."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiki import Client, State
from examples.fanout import sum_sales
from tests.waiting import ENOUGH

pytestmark = pytest.mark.anyio
ORDERS = Path(__file__).parents[3] / "examples" / "orders" / "orders.csv"


async def test_a_file_is_added_up_part_by_part(client: Client) -> None:
    handle = await sum_sales.enqueue(client, str(ORDERS), lines=60)
    summary = await handle.result(timeout=ENOUGH)
    assert (summary.orders, summary.failed) == (500, {})
    assert [cents for _, cents in summary.best] == sorted((cents for _, cents in summary.best), reverse=True)
    status = await handle.status()
    assert (status.children, status.details) == (9, {"parts": 9, "ended": 9, "failed": 0})
    parts = await client.runs.list(parent=handle.run_id, states=[State.COMPLETED])
    assert sum(run.result["orders"] for run in parts.runs) == 500
    found = await client.runs.list(roots=True, labels={"file": "orders.csv"})
    assert handle.run_id in [run.run_id for run in found.runs]


async def test_a_part_that_cannot_be_added_up_is_named_and_stops_no_other(client: Client, tmp_path: Path) -> None:
    lines = ORDERS.read_text().splitlines()
    lines[5] = lines[5].rpartition(",")[0] + ",free"
    (path := tmp_path / "orders.csv").write_text("\n".join(lines[:41]) + "\n")
    handle = await sum_sales.enqueue(client, str(path), lines=10)
    summary = await handle.result(timeout=ENOUGH)
    (failed,) = (await client.runs.list(parent=handle.run_id, states=[State.FAILED])).runs
    assert summary.failed.keys() == {"1-10"}
    assert summary.failed["1-10"].endswith(f"o-0005 has no price ({failed.run_id})")
    assert summary.orders == 30
