"""A claim's reply that comes after its session was lost brings runs that are another's by now (P7)."""

from __future__ import annotations

import time
import uuid

import pytest
from msgspec import Raw

from aiki import Client, Worker, WorkflowRun, task, workflow
from aiki.wire.messages import Claim, Claimed, ClaimReply, Fence

pytestmark = pytest.mark.anyio

started: list[int] = []


@task
async def effect(n: int) -> None:
    started.append(n)


@workflow
async def affecting(run: WorkflowRun, n: int) -> None:
    await effect.run(run, n)


def reply(claim_id: str, runs: int) -> ClaimReply:
    now = time.time_ns() // 1000
    return ClaimReply(
        now,
        runs=[
            Claimed(Fence(str(uuid.uuid4()), 1, claim_id), str(uuid.uuid4()), "affecting", "1", Raw(b'{"n":1}'), 1, now)
            for _ in range(runs)
        ],
    )


async def test_runs_of_a_lost_session_are_not_begun(client: Client) -> None:
    started.clear()
    async with Worker(client, workflows=[affecting]) as worker:
        claim_id = str(uuid.uuid4())
        lost = Claim(str(uuid.uuid4()), claim_id, [("affecting", "1")], 100)
        await worker._on_claimed(reply(claim_id, 100), lost)
        assert not worker._executions
        assert claim_id not in worker._held
        assert worker._slots.free == worker._slots.total
    assert started == []
