"""Processes that are cut off rather than dead: frozen past their lease, late requests, replies that are lost."""

from __future__ import annotations

import anyio
import pytest

from tests.chaos.cluster import LEASE, PATIENCE, Cluster, is_frozen
from tests.chaos.flows import held, held_beside_sleep, once_only
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("point", ["enqueue", "claim", "record", "renew"])
async def test_lost_replies_of(served: Cluster, point: str) -> None:
    served.aikid(f"{point}.before_reply=drop@3")
    served.worker()
    async with served.client() as client:
        await served.load(client, until=lambda: served.reached(f"{point}.before_reply"))
        summary = await served.finish(client)
    assert summary.takeovers == 0


@pytest.mark.parametrize("claim", [1, 2])
async def test_a_claim_whose_reply_was_lost_is_found_by_the_renewal(cluster: Cluster, claim: int) -> None:
    """The first claim of a run, and one after its sleep, when it has a journal."""
    cluster.aikid(f"claim.before_reply=drop@{claim}")
    async with cluster.client() as client:
        handle = await cluster.enqueue(client)  # before there is a worker that it could be handed over to
        # With one slot a worker gives no leave: the run that woke is not handed over to it.
        cluster.worker("", "--lease", LEASE, "--linger", "0s", "--slots", "1")
        await handle.result(timeout=ENOUGH)
        assert cluster.reached("claim.before_reply")
        await cluster.finish(client)
    reasons = [reason for (reason,) in cluster.query("SELECT reason FROM aiki.run_history WHERE move = 'release'")]
    assert "the claim's reply was lost" in reasons


@pytest.mark.parametrize(
    "point",
    ["worker.claimed", "task.before_body", "task.after_body", "worker.before_sleep", "worker.before_complete"],
)
async def test_a_zombie_changes_nothing(served: Cluster, point: str) -> None:
    """A worker freezes there past its lease; when it wakes, others have had its runs."""
    zombie = served.worker(f"{point}=stop")
    async with served.client() as client:
        await served.load(client, 6, until=lambda: served.reached(point))
        await wait_until(lambda: is_frozen(zombie), what="the freeze")
        served.worker()
        await served.finish(client)
        zombie.resume()
        await wait_until(lambda: "was lost" in zombie.logged(), what="the zombie's notice")
        await served.load(client, 12)
        summary = await served.finish(client)
    assert summary.takeovers > 0
    assert zombie.running


async def test_a_zombie_whose_task_ends_late_changes_nothing(served: Cluster) -> None:
    zombie = served.worker()
    async with served.client() as client:
        handle = await held.enqueue(client, "gate")
        served.expected.results[handle.run_id] = 2
        await wait_until(lambda: served.begun("gate"), what="a worker at the gate")
        zombie.pause()
        heir = served.worker()
        await wait_until(lambda: heir.name in served.begun("gate"), what="the take-over")
        served.open("gate")
        await handle.result(timeout=ENOUGH)
        zombie.resume()
        await wait_until(lambda: "was lost" in zombie.logged(), what="the zombie's notice")
        await served.load(client, 4)
        summary = await served.finish(client)
    assert summary.repeats >= 1
    assert zombie.running


@pytest.mark.parametrize(
    ("point", "others"),
    [
        ("enqueue.before_commit", "SELECT 1 FROM aiki.runs WHERE namespace = %(ns)s"),
        ("claim.before_commit", ""),
        (
            "record.before_commit",
            "SELECT 1 FROM aiki.journal j JOIN aiki.runs r ON r.id = j.run_id WHERE r.namespace = %(ns)s",
        ),
    ],
    ids=["enqueue", "claim", "record"],
)
async def test_a_late_request_of_a_frozen_daemon_changes_nothing(served: Cluster, point: str, others: str) -> None:
    """One daemon freezes with a request in hand, the other serves the repeat, then the first carries its own out."""
    frozen = served.aikid(f"{point}=stop")
    async with served.client() as client, anyio.create_task_group() as group:
        # A lease that is long against a call's timeout: half of all calls meet the frozen daemon first.
        served.worker("", "--lease", "10s")
        group.start_soon(served.load, client, 12)
        await wait_until(lambda: is_frozen(frozen), what="the freeze")
        if others:
            before = len(served.query(others))
            await wait_until(lambda: len(served.query(others)) > before, PATIENCE, what="what others do")
        frozen.resume()
        await wait_until(lambda: len(served.expected.results) >= 12, PATIENCE, what="the load")
        await served.finish(client)


@pytest.mark.parametrize("point", ["claim.before_commit", "claim.before_reply"])
async def test_a_claim_meets_the_rescuer(served: Cluster, point: str) -> None:
    """A claim hangs in a daemon while its worker dies and is buried by the other daemon's rescuer."""
    async with served.client() as client:
        await served.load(client, 8)
        frozen = served.aikid(f"{point}=stop")
        dead = served.worker("", "--lease", LEASE, "--slots", "1", start=False)
        dead.launch()
        await wait_until(lambda: is_frozen(frozen), what="the freeze")
        dead.kill9()
        buried = "SELECT 1 FROM aiki.sessions WHERE namespace = %(ns)s AND closed_at IS NOT NULL"
        await wait_until(lambda: served.query(buried), what="the end of the dead worker's session")
        frozen.resume()
        served.worker()
        await served.finish(client)


async def test_a_task_that_outlives_a_timer_beside_it_is_repeated_after_a_kill(served: Cluster) -> None:
    victim = served.worker()
    async with served.client() as client:
        handle = await held_beside_sleep.enqueue(client, "gate")
        served.expected.results[handle.run_id] = 7
        ended = (
            "SELECT 1 FROM aiki.journal j JOIN aiki.runs r ON r.id = j.run_id"
            " WHERE r.namespace = %(ns)s AND j.key LIKE 'task:effect:%%'"
        )
        await wait_until(lambda: served.query(ended), what="the branch beside the gate")
        victim.kill9()
        heir = served.worker()
        await wait_until(lambda: heir.name in served.begun("gate"), what="the take-over")
        served.open("gate")
        summary = await served.finish(client)
    assert (summary.starts, summary.repeats) == (3, 1), "only the task at the gate runs again"


async def test_an_at_most_once_task_is_not_started_again(served: Cluster) -> None:
    victim = served.worker()
    async with served.client() as client:
        handle = await once_only.enqueue(client, "gate")
        served.expected.results[handle.run_id] = "unknown: gated_once"
        await wait_until(lambda: served.begun("gate"), what="a worker at the gate")
        victim.kill9()
        served.worker()
        summary = await served.finish(client)
    assert summary.starts == 1
