"""Own what is measured: each workload takes a client and returns its figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiki import Client
from bench.flows import fan_out, nobody, steps

PAYLOAD = {"a": "x" * 90}
ONE_BY_ONE_CONCURRENCY = 500


@dataclass(frozen=True)
class Figures:
    """What one run of a workload came to."""

    runs: int
    seconds: float
    rate: float | None = None
    more: dict[str, Any] = field(default_factory=dict)


async def w1(client: Client, *, n: int, k: int) -> Figures:
    """N runs of K steps, enqueued as fast as the API allows, until the last one has completed."""
    began = time.perf_counter()
    handles = await client.enqueue_many(steps.bind(PAYLOAD, k) for _ in range(n))
    await asyncio.gather(*(handle.result() for handle in handles))
    seconds = time.perf_counter() - began
    return Figures(n, seconds, n / seconds, {"steps_per_second": round(n * k / seconds)})


async def w2(client: Client, *, l: int) -> Figures:  # noqa: E741 - the specification's letter
    """L times in sequence: start a run of one step and wait for its result."""
    times = []
    began = time.perf_counter()
    for _ in range(l):
        sent = time.perf_counter()
        handle = await client.enqueue(steps.bind(PAYLOAD, 1))
        await handle.result()
        times.append(1e3 * (time.perf_counter() - sent))
    times.sort()
    quantiles = {f"p{q}_ms": round(times[min(l - 1, l * q // 100)], 2) for q in (50, 95, 99)}
    return Figures(l, time.perf_counter() - began, None, quantiles)


async def w3(client: Client, *, f: int) -> Figures:
    """One run that fans out F steps."""
    began = time.perf_counter()
    done = await (await client.enqueue(fan_out.bind(PAYLOAD, f))).result()
    assert done == f
    return Figures(1, time.perf_counter() - began)


async def w4(client: Client, *, s: int) -> Figures:
    """One run of S steps in sequence; the growth is read from the times in its journal."""
    began = time.perf_counter()
    handle = await client.enqueue(steps.bind(PAYLOAD, s))
    await handle.result()
    seconds = time.perf_counter() - began
    at = [item.at.timestamp() async for item in client.runs.history(handle.run_id) if item.event == "entry"]
    assert len(at) == s
    tenth = s // 10
    first, last = (at[tenth] - at[0]) / tenth, (at[-1] - at[-1 - tenth]) / tenth
    return Figures(
        1,
        seconds,
        None,
        {
            "ms_per_step": round(1e3 * seconds / s, 3),
            "first_tenth_ms": round(1e3 * first, 3),
            "last_tenth_ms": round(1e3 * last, 3),
            "growth": round(last / first, 3),
        },
    )


async def w5_one_by_one(client: Client, *, m: int) -> Figures:
    """M runs enqueued by single calls, 500 at a time, with no worker for them."""
    gate = asyncio.Semaphore(ONE_BY_ONE_CONCURRENCY)

    async def one() -> None:
        async with gate:
            await client.enqueue(nobody.bind(PAYLOAD))

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(m)))
    seconds = time.perf_counter() - began
    return Figures(m, seconds, m / seconds)


async def w5_many(client: Client, *, m: int) -> Figures:
    """M runs enqueued by `enqueue_many`, with no worker for them."""
    began = time.perf_counter()
    await client.enqueue_many(nobody.bind(PAYLOAD) for _ in range(m))
    seconds = time.perf_counter() - began
    return Figures(m, seconds, m / seconds)


@dataclass(frozen=True)
class Workload:
    """A workload with its parameters. `limit` is the sketch's workload to compare with, if it has one."""

    name: str
    measure: Callable[..., Awaitable[Figures]]
    params: dict[str, int]
    notes: str
    needs_worker: bool = True
    limit: str | None = None

    @property
    def label(self) -> str:
        """Return what the table calls it."""
        size = " ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.name} {size} {self.notes}".strip()


WORKLOADS = [
    Workload("W1", w1, {"n": 2000, "k": 5}, "enqueue_many", limit="W1"),
    Workload("W2", w2, {"l": 200}, "enqueue, result", limit="W2"),
    Workload("W3", w3, {"f": 500}, "tasks"),
    Workload("W3", w3, {"f": 2000}, "tasks"),
    Workload("W4", w4, {"s": 1000}, ""),
    Workload("W4", w4, {"s": 5000}, ""),
    Workload("W5", w5_one_by_one, {"m": 5000}, "enqueue, 500 at a time", needs_worker=False, limit="W5"),
    Workload("W5", w5_many, {"m": 5000}, "enqueue_many", needs_worker=False, limit="W5"),
]
