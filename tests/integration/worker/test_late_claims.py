"""A claim's reply that comes late brings runs that may be another's by now (P2, P3, P7)."""

from __future__ import annotations

import time
import uuid

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki import Client, Worker, WorkflowRun, task, workflow
from aiki.execution import Lease
from aiki.wire.messages import Claim, Claimed, ClaimReply, Fence
from aiki.worker.claims import Asked
from aiki.worker.serving import Serving
from tests.parts import parts
from tests.waiting import wait_until

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


def ask(service: Serving, lease: Lease, limit: int) -> Asked:
    """Do what a worker does before it sends a claim."""
    request = Claim(lease.session, str(uuid.uuid4()), [("affecting", "1")], limit)
    service.runs.inventory.expect(request.claim_id)
    return Asked(request, lease, service.slots.reserve(limit), time.monotonic())


def is_idle(service: Serving) -> bool:
    return not service.runs.by_id and not service.runs.inventory.held()


async def test_runs_of_a_lost_session_are_not_begun(client: Client) -> None:
    started.clear()
    async with Worker(client, workflows=[affecting]) as worker:
        service = parts(worker)
        asked = ask(service, Lease(str(uuid.uuid4())), 100)
        await service.intake.claimed(reply(asked.request.claim_id, 100), asked)
        assert is_idle(service)
        service.slots.release(asked.reservation)
        assert service.slots.free == service.slots.total
    assert started == []


async def test_runs_that_the_lease_thread_gave_back_are_not_begun_and_released_once_more(client: Client) -> None:
    started.clear()
    async with Worker(client, workflows=[affecting]) as worker:
        service = parts(worker)
        asked = ask(service, service.session.lease, 3)
        late = reply(asked.request.claim_id, 3)
        fences = [claimed.fence for claimed in late.runs]
        assert service.runs.inventory.give_back(fences) == fences
        await service.intake.claimed(late, asked)
        assert asked.reservation.left == 3, "none of them takes a slot"
        assert service.runs.inventory.held() == [asked.request.claim_id], "held until it is known to be released"
        await wait_until(lambda: is_idle(service), what="the daemon's word that they are not ours")
    assert started == []


async def test_a_late_reply_leaves_a_run_alone_that_has_come_again_by_a_later_claim(client: Client) -> None:
    async with Worker(client, workflows=[affecting]) as worker:
        service = parts(worker)
        first, again = (ask(service, service.session.lease, 1) for _ in range(2))
        late = reply(first.request.claim_id, 1)
        fence = late.runs[0].fence
        service.runs.inventory.give_back([fence])
        now = ClaimReply(late.now, runs=[replace(late.runs[0], fence=Fence(fence.run_id, 2, again.request.claim_id))])
        await service.intake.claimed(now, again)
        begun = service.runs.by_id[fence.run_id]
        await service.intake.claimed(late, first)
        assert service.runs.by_id[fence.run_id] is begun
        assert service.runs.inventory.held() == [again.request.claim_id]


async def test_what_finds_no_slot_goes_back(client: Client) -> None:
    async with Worker(client, workflows=[affecting], max_concurrent_runs=2) as worker:
        service = parts(worker)
        asked = ask(service, service.session.lease, 2)
        service.slots.release(asked.reservation)  # its reply is overdue, and the slots are another claim's
        in_time = service.slots.reserve(1)
        await service.intake.claimed(reply(asked.request.claim_id, 3), asked)
        assert len(service.slots._active) == 1
        service.slots.release(in_time)
        await wait_until(lambda: is_idle(service))
