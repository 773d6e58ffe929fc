"""Claims whose reply comes late: what was given back meanwhile is another's, and what is over the slots goes back."""

from __future__ import annotations

import itertools

import anyio
import pytest

from aiki.core.duration import to_seconds
from tests.chaos.cluster import LEASES, PATIENCE, Cluster
from tests.chaos.flows import blocks, held
from tests.chaos.ledger import Effect
from tests.servers.proxy import Proxy
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

ENDED = "SELECT 1 FROM aiki.runs WHERE namespace = %(ns)s AND state = 'completed'"
CLAIMED = "SELECT 1 FROM aiki.runs WHERE namespace = %(ns)s AND state = 'running'"
ALIVE = "SELECT worker FROM aiki.sessions WHERE namespace = %(ns)s AND closed_at IS NULL AND expires_at > now()"


def proxy_for_claims(served: Cluster) -> Proxy:
    """Return a proxy that loses the word that runs may be handed over: they all come by claims."""
    proxy = served.proxy()
    proxy.lose("park")
    return proxy


def at_the_gate(served: Cluster) -> list[Effect]:
    """Return the starts of tasks that wait for the test."""
    return [one for one in served.effects() if one.event == "start" and one.key.startswith("task:gated:")]


@pytest.mark.parametrize("lease", LEASES)
async def test_runs_that_were_given_back_are_not_begun_by_their_late_reply(served: Cluster, lease: str) -> None:
    """A renewal names them, they are released, another worker has them to the end: then the reply comes.

    Until the other has them, the first may claim them again, and again they are given back after a part of the lease.
    """
    proxy = proxy_for_claims(served)
    served.worker("", "--lease", lease, "--slots", "2", url=proxy.url)
    async with served.client() as client:
        await (await served.enqueue(client)).result(timeout=ENOUGH)
        proxy.hold("claim")
        await served.load(client, 8)
        await wait_until(lambda: served.query(CLAIMED), what="claims whose reply is held back")
        served.worker("", "--lease", lease)
        count = len(served.expected.results)
        enough = PATIENCE + 3 * to_seconds(lease)
        await wait_until(lambda: len(served.query(ENDED)) == count, enough, what="what the other worker does")
        proxy.let_go("claim")
        await served.load(client, count + 8)
        summary = await served.finish(client)
    assert summary.takeovers == 0


@pytest.mark.parametrize("lease", LEASES)
async def test_runs_that_were_given_back_while_the_loop_was_busy_are_not_begun_after_that(
    served: Cluster, lease: str
) -> None:
    """Their reply has been read, and before they begin something else holds the loop: no network is at fault."""
    busy = served.worker("worker.claimed=block", "--lease", lease, url=proxy_for_claims(served).url)
    async with served.client() as client:
        await served.load(client, 8, until=lambda: served.reached("worker.claimed"))
        served.worker("", "--lease", lease)
        count = len(served.expected.results)
        await wait_until(lambda: len(served.query(ENDED)) == count, PATIENCE, what="what the other worker does")
        served.let_go("worker.claimed")
        await served.load(client, count + 8)
        summary = await served.finish(client)
    assert summary.takeovers == 0
    assert busy.running


@pytest.mark.parametrize("lease", LEASES)
async def test_claims_that_are_answered_after_2_to_6_seconds(served: Cluster, lease: str) -> None:
    proxy = proxy_for_claims(served)
    delays = itertools.cycle([2.0, 6.0, 4.0])
    proxy.hold("claim", lambda: next(delays))
    served.worker("", "--lease", lease, url=proxy.url)
    async with served.client() as client:
        await served.load(client, 8)
        await wait_until(lambda: served.query(CLAIMED), what="claims whose reply is held back")
        served.worker("", "--lease", lease)
        with anyio.fail_after(patient(PATIENCE)):
            while proxy.late["claim"] < 3:
                await served.enqueue(client)
                await anyio.sleep(0.1)
        summary = await served.finish(client)
    assert summary.takeovers == 0


async def test_late_replies_bring_no_more_runs_than_there_are_slots(served: Cluster) -> None:
    """The first claim is not answered in time, so another is made for the same slots; then both replies come."""
    proxy = proxy_for_claims(served)
    proxy.hold("claim")
    served.worker("", "--lease", "30s", "--slots", "2", url=proxy.url)
    async with served.client() as client:
        for _ in range(4):
            handle = await held.enqueue(client, "gate")
            served.expected.results[handle.run_id] = 2
        await wait_until(lambda: len(served.query(CLAIMED)) == 4, PATIENCE, what="a second claim")
        proxy.let_go("claim")
        await wait_until(lambda: len(at_the_gate(served)) == 2, what="a task at the gate in each slot")
        held_back = "SELECT 1 FROM aiki.run_history WHERE move = 'release'"
        await wait_until(lambda: served.query(held_back), what="what goes back")
        served.open("gate")
        summary = await served.finish(client)
    assert summary.most_at_once == 2


@pytest.mark.parametrize("lease", LEASES)
async def test_a_busy_loop_loses_no_lease_while_a_renewal_names_runs_that_it_does_not_hold(
    served: Cluster, lease: str
) -> None:
    proxy = proxy_for_claims(served)
    busy = served.worker("", "--lease", lease, url=proxy.url)
    async with served.client() as client:
        handle = await blocks.enqueue(client, "first", "then")
        served.expected.results[handle.run_id] = 0
        await wait_until(lambda: served.begun("first"), what="the task")
        proxy.hold("claim")
        await served.enqueue(client)
        await wait_until(lambda: len(served.query(CLAIMED)) == 2, what="the claim whose reply is held back")
        served.open("first")
        await wait_until(lambda: served.begun("then"), what="the block of the loop")
        served.worker("", "--lease", lease)
        await wait_until(lambda: served.query(ENDED), PATIENCE, what="the run's way to another worker")
        proxy.let_go("claim")
        began = anyio.current_time()
        await wait_until(lambda: anyio.current_time() > began + 1.5 * seconds(lease), 60, what="a lease and a half")
        assert (busy.name,) in served.query(ALIVE)
        served.open("then")
        summary = await served.finish(client)
    assert summary.takeovers == 0
    assert "the session was lost" not in busy.logged()


def seconds(lease: str) -> float:
    return float(lease.removesuffix("s"))
