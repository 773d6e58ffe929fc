"""Own what Aiki costs while it holds much or does nothing: memory of daemon and worker, CPU when idle."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from aiki import Client, State
from bench.flows import holder, nobody, sleeper
from bench.servers import Cluster
from bench.workloads import PAYLOAD

QUEUED = 100_000
SLEEPING = 10_000
OPEN = 1_000
IDLE_SECONDS = 10.0
HOLD_SECONDS = 600.0
BATCH = 10_000


async def daemon_memory(cluster: Cluster) -> float:
    """Return aikid's memory in MB with 10,000 sleeping and 100,000 queued runs."""
    worker = cluster.start_worker("--max-concurrent-runs", "200")
    async with Client.connect(cluster.url) as client:
        await client.enqueue_many(sleeper.bind(3600.0) for _ in range(SLEEPING))
        await until(client, State.SLEEPING, SLEEPING)
        worker.terminate()
        worker.wait(60)
        for _ in range(QUEUED // BATCH):
            await client.enqueue_many(nobody.bind(PAYLOAD) for _ in range(BATCH))
        await until(client, State.QUEUED, QUEUED)
    return resident_mb(cluster.daemon.pid)


async def worker_memory(cluster: Cluster) -> float:
    """Return the worker's memory in MB with 1,000 runs open, each inside a task."""
    worker = cluster.start_worker("--max-concurrent-runs", str(OPEN), "--drain", "0s")
    async with Client.connect(cluster.url) as client:
        await client.enqueue_many(holder.bind(HOLD_SECONDS) for _ in range(OPEN))
        await until(client, State.RUNNING, OPEN)
    return resident_mb(worker.pid)


async def idle_cpu(cluster: Cluster) -> float:
    """Return the CPU use of aikid and an idle worker together, in percent of one core."""
    worker = cluster.start_worker()
    async with Client.connect(cluster.url) as client:
        while (await client.runs.summary()).workers == 0:
            await asyncio.sleep(0.1)
    return await busy_percent([cluster.daemon.pid, worker.pid])


async def busy_percent(pids: Sequence[int]) -> float:
    """Return the CPU use of processes together, in percent of one core, after a pause in which they come to rest."""
    await asyncio.sleep(IDLE_SECONDS / 2)
    before = sum(map(_cpu_seconds, pids))
    await asyncio.sleep(IDLE_SECONDS)
    return 100 * (sum(map(_cpu_seconds, pids)) - before) / IDLE_SECONDS


async def until(client: Client, state: State, runs: int) -> None:
    """Return when so many runs are in this state: of more than are counted, when none is on its way to any other."""
    while True:
        counts = (await client.runs.summary()).counts
        there = [row for row in counts if row.state is state]
        moving = any(row.state in (State.QUEUED, State.RUNNING) for row in counts)
        if sum(row.runs for row in there) >= runs or (any(row.capped for row in there) and not moving):
            return
        await asyncio.sleep(0.2)


def resident_mb(pid: int) -> float:
    """Return the memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
