"""Processes that are cut off rather than dead: frozen past their lease, late requests, replies that are lost."""

from __future__ import annotations

import pytest

from tests.chaos.cluster import LEASE, Cluster, is_frozen
from tests.chaos.flows import held, held_beside_sleep, once_only
from tests.servers import wait_until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("point", ["enqueue", "claim", "record", "renew"])
async def test_lost_replies_of(cluster: Cluster, point: str) -> None:
    cluster.aikid(f"{point}.before_reply=drop@3")
    cluster.worker()
    async with cluster.client() as client:
        await cluster.load(client, until=lambda: cluster.reached(f"{point}.before_reply"))
        summary = await cluster.finish(client)
    assert summary.takeovers == 0


@pytest.mark.parametrize("claim", [1, 2])
async def test_a_claim_whose_reply_was_lost_is_found_by_the_renewal(cluster: Cluster, claim: int) -> None:
    """The first claim of a run, and one after its sleep, when it has a journal."""
    cluster.aikid(f"claim.before_reply=drop@{claim}")
    cluster.worker("", "--lease", LEASE, "--linger", "0s")
    async with cluster.client() as client:
        handle = await cluster.enqueue(client)
        await handle.result(timeout="20s")
        assert cluster.reached("claim.before_reply")
        await cluster.finish(client)
    reasons = [reason for (reason,) in cluster.query("SELECT reason FROM aiki.run_history WHERE event = 'release'")]
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
        await handle.result(timeout="10s")
        zombie.resume()
        await wait_until(lambda: "was lost" in zombie.logged(), what="the zombie's notice")
        heir.kill9()
        await served.load(client, 4)
        summary = await served.finish(client)
    assert summary.repeats >= 1


@pytest.mark.parametrize("point", ["enqueue.before_commit", "claim.before_commit", "record.before_commit"])
async def test_a_late_request_of_a_frozen_daemon_changes_nothing(cluster: Cluster, point: str) -> None:
    """One daemon freezes with a request in hand, the other serves the repeat, then the first carries its own out."""
    frozen, _ = cluster.aikids(f"{point}=stop@2", "")
    # A lease that is long against a call's timeout: half of all calls meet the frozen daemon first.
    cluster.worker("", "--lease", "10s")
    async with cluster.client() as client:
        await cluster.load(client, 6, until=lambda: cluster.reached(point))
        await wait_until(lambda: is_frozen(frozen), what="the freeze")
        if point == "record.before_commit":
            held = len(cluster.query("SELECT 1 FROM aiki.journal"))
            await wait_until(lambda: len(cluster.query("SELECT 1 FROM aiki.journal")) > held, what="the repeat")
        frozen.resume()
        await cluster.load(client, 12)
        await cluster.finish(client)


@pytest.mark.parametrize("point", ["claim.before_commit", "claim.before_reply"])
async def test_a_claim_meets_the_rescuer(cluster: Cluster, point: str) -> None:
    """A claim hangs in a daemon while its worker dies and is buried by the other daemon's rescuer."""
    frozen, _ = cluster.aikids(f"{point}=stop", "")
    async with cluster.client() as client:
        await cluster.load(client, 8)
        dead = cluster.worker()
        await cluster.load(client, until=lambda: cluster.reached(point))
        await wait_until(lambda: is_frozen(frozen), what="the freeze")
        dead.kill9()
        buried = "SELECT 1 FROM aiki.sessions WHERE closed_at IS NOT NULL"
        await wait_until(lambda: cluster.query(buried), what="the end of the dead worker's session")
        frozen.resume()
        cluster.worker()
        await cluster.finish(client)


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
