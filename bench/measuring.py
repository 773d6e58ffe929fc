"""Own one measurement: a cluster of its own, a workload or a resource on it, and what came of it as one row.

`python -m bench.measuring LABEL` prints the row as JSON: so a tree is measured by its own interpreter, with its own
packages (see `pairs`).
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import uvloop

from aiki import Client
from bench.costs import per_run, read_after, read_before
from bench.resources import daemon_memory, idle_cpu, worker_memory
from bench.servers import Cluster, cluster
from bench.workloads import WORKLOADS, Figures, Workload

CONCURRENCY = 100

Row = dict[str, Any]

RESOURCES: dict[str, tuple[str, Callable[[Cluster], Awaitable[float]]]] = {
    "aikid memory, 100,000 queued and 10,000 sleeping": ("MB", daemon_memory),
    "worker memory, 1,000 runs open": ("MB", worker_memory),
    "idle CPU of aikid and worker": ("% of a core", idle_cpu),
}


def main() -> None:
    """Print the row of the measurement with the given label."""
    print(json.dumps(measure(sys.argv[1])))


def measure(label: str) -> Row:
    """Return the row of the workload or resource with that label. Raises KeyError if there is none."""
    if label in RESOURCES:
        return _measure_resource(label)
    return _measure_workload({workload.label: workload for workload in WORKLOADS}[label])


def _measure_workload(workload: Workload) -> Row:
    with cluster() as running:
        for _ in range(1, workload.processes):
            running.start_daemon()
        for _ in range(workload.processes if workload.needs_worker else 0):
            running.start_worker("--max-concurrent-runs", str(CONCURRENCY), flows=workload.flows)
        figures, costs = uvloop.run(_with_client(running, workload))
    return {
        "engine": "aiki",
        "version": version("aiki"),
        "workload": workload.name,
        "label": workload.label,
        "params": workload.params | ({"c": CONCURRENCY} if workload.needs_worker else {}),
        "seconds": round(figures.seconds, 3),
        "rate": figures.rate and round(figures.rate, 1),
        **figures.more,
        **costs,
        "notes": workload.notes,
    }


async def _with_client(running: Cluster, workload: Workload) -> tuple[Figures, dict[str, float]]:
    async with Client.connect(running.url) as client:
        while workload.needs_worker and (await client.runs.summary()).workers < workload.processes:
            await asyncio.sleep(0.05)
        await client.enqueue_many([])  # loads what is loaded at first use
        before = read_before(running.roots, running.database_url)
        figures = await workload.measure(client, **workload.params)
        after = read_after(running.roots, running.database_url)
    return figures, per_run(before, after, figures.runs)


def _measure_resource(label: str) -> Row:
    unit, resource = RESOURCES[label]
    with cluster() as running:
        figure = round(uvloop.run(_figure(resource, running)), 2)
    return {"engine": "aiki", "version": version("aiki"), "workload": "resources", "label": label} | {
        "figure": figure,
        "unit": unit,
    }


async def _figure(resource: Callable[[Cluster], Awaitable[float]], running: Cluster) -> float:
    return await resource(running)


if __name__ == "__main__":
    main()
