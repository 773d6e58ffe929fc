"""Tries that are let go and have not begun, when their worker is frozen, cut off, drained or killed."""

from __future__ import annotations

import signal
import time

import pytest

from aiki import Client, Handle
from tests.chaos.cluster import LEASES, PATIENCE, Cluster, Worker
from tests.chaos.flows import blocks, chain, in_process, in_thread, once_in_thread, once_only
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

ALIVE = "SELECT worker FROM aiki.sessions WHERE namespace = %(ns)s AND closed_at IS NULL"
QUEUED = "SELECT 1 FROM aiki.runs WHERE namespace = %(ns)s AND state = 'queued'"
ANNOUNCED = "SELECT 1 FROM aiki.attempts a JOIN aiki.runs r ON r.id = a.run_id WHERE r.namespace = %(ns)s"


async def all_is_let_go(cluster: Cluster, client: Client) -> None:
    """Wait until the only worker has claimed all runs, and carried out one that it claimed after them."""
    await wait_until(lambda: not cluster.query(QUEUED), PATIENCE, what="the claims")
    handle = await chain.enqueue(client, 1)
    cluster.expected.results[handle.run_id] = [0]
    await handle.result(timeout=ENOUGH)


async def has_ended(cluster: Cluster, handle: Handle[int]) -> None:
    await wait_until(lambda: cluster.state_of(handle.run_id) == "completed", PATIENCE, what="the run's end elsewhere")


@pytest.mark.parametrize("lease", LEASES)
async def test_a_process_task_whose_worker_was_frozen_while_it_waited_for_its_child(
    served: Cluster, lease: str
) -> None:
    frozen = served.worker("", "--lease", lease, "--processes", "1")
    served.open("second")
    async with served.client() as client:
        first = await in_process.enqueue(client, "first")
        await wait_until(lambda: served.begun("first"), what="the task that has the child")
        second = await in_process.enqueue(client, "second")
        served.expected.results.update({first.run_id: 0, second.run_id: 0})
        await all_is_let_go(served, client)
        frozen.pause()
        served.worker("", "--lease", lease, "--processes", "2")
        await has_ended(served, second)
        served.open("first")
        await has_ended(served, first)
        frozen.resume()
        await wait_until(lambda: "was lost" in frozen.logged(), what="the frozen one's notice")
        await all_is_let_go(served, client)
        summary = await served.finish(client)
    assert (summary.takeovers, summary.repeats) == (2, 1)


@pytest.mark.parametrize("lease", LEASES)
async def test_a_thread_task_of_a_lost_session_while_the_next_one_is_certain(served: Cluster, lease: str) -> None:
    """The loop is busy all the while: the lease thread alone has lost the one session and opened the other."""
    busy = served.worker("", "--lease", lease, "--threads", "1")
    served.open("second")
    async with served.client() as client:
        first = await in_thread.enqueue(client, "first")
        await wait_until(lambda: served.begun("first"), what="the task that has the thread")
        second = await in_thread.enqueue(client, "second")
        blocking = await blocks.enqueue(client, "before", "block")
        served.expected.results.update({first.run_id: 0, second.run_id: 0, blocking.run_id: 0})
        await all_is_let_go(served, client)
        served.open("before")
        await wait_until(lambda: served.begun("block"), what="the block of the loop")
        served.query("UPDATE aiki.sessions SET closed_at = now(), expires_at = now() WHERE namespace = %(ns)s")
        await wait_until(lambda: served.query(ALIVE) == [(busy.name,)], what="the next session")
        served.worker("", "--lease", lease, "--only", "in_thread")
        await has_ended(served, second)
        served.open("first")
        await has_ended(served, first)
        await wait_until(lambda: has_left(served, busy, "first"), what="the end of the task that had the thread")
        served.open("block")
        await all_is_let_go(served, client)
        summary = await served.finish(client)
    assert (summary.takeovers, summary.repeats) == (3, 2)


def has_left(cluster: Cluster, worker: Worker, gate: str) -> bool:
    """Tell whether the worker's task at the gate has ended."""
    return any(effect.event == "end" and effect.worker == worker.name for effect in cluster.effects())


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_of_many_at_most_once_tasks_only_that_is_unknown_which_has_begun(
    served: Cluster, end: signal.Signals
) -> None:
    """The others wait for its thread, when their worker is told to stop, or killed."""
    leaver = served.worker("", "--threads", "1", "--drain", "100ms")
    served.expected.drained.add(leaver.name)
    async with served.client() as client:
        begun = await once_in_thread.enqueue(client, "held")
        await wait_until(lambda: served.begun("held"), what="the task that has the thread")
        served.expected.results[begun.run_id] = "unknown: gated_once_in_thread"
        for number in range(8):
            handle = await once_in_thread.enqueue(client, f"open-{number}")
            served.expected.results[handle.run_id] = "done"
            served.open(f"open-{number}")
        await all_is_let_go(served, client)
        assert leaver.process is not None
        leaver.process.send_signal(end)
        await wait_until(lambda: not leaver.running, what="its end")
        served.worker()
        summary = await served.finish(client)
    assert summary.repeats == 0


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("lease", LEASES)
async def test_an_announced_task_is_taken_back_or_begun_after_a_cut_off_that_its_lease_outlived(
    served: Cluster, lease: str, *, stops: bool
) -> None:
    """Its announcement is on record; then nothing is heard for so long that the lease is no longer certain."""
    proxy = served.proxy()
    worker = served.worker("", "--lease", lease, url=proxy.url)
    async with served.client() as client:
        await all_is_let_go(served, client)
        proxy.hold("record")
        handle = await once_only.enqueue(client, "gate")
        served.expected.results[handle.run_id] = "done"
        served.open("gate")
        await wait_until(lambda: served.query(ANNOUNCED), what="the announcement")
        proxy.hold("session_renew")
        since = time.monotonic()
        certain = 0.8 * seconds(lease)
        await wait_until(lambda: time.monotonic() - since > certain, certain + 10, what="the end of certainty")
        proxy.let_go("record")
        if stops:
            worker.drain()
            assert worker.wait() == 0
            served.worker("", "--lease", lease)
        else:
            proxy.let_go("session_renew")
        summary = await served.finish(client)
    assert (summary.takeovers, summary.repeats) == (0, 0)


def seconds(lease: str) -> float:
    return float(lease.removesuffix("s"))
