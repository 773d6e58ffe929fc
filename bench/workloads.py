"""Own what is measured: each workload takes a client and returns its figures."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiki import Client, State
from bench.flows import family, fan_out, mixed, nobody, steps

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
    began = time.perf_counter()
    times = sorted(await _one_after_the_other(client, l))
    return Figures(l, time.perf_counter() - began, None, _quantiles(times))


async def w2_at_once(client: Client, *, l: int, k: int) -> Figures:  # noqa: E741 - the specification's letter
    """K times at once: L times in sequence, start a run of one step and wait for its result."""
    each = await asyncio.gather(*(_one_after_the_other(client, l) for _ in range(k)))
    times = sorted(time for times in each for time in times)
    return Figures(l * k, sum(times) / 1e3 / k, None, _quantiles(times))


async def _one_after_the_other(client: Client, l: int) -> list[float]:  # noqa: E741
    times = []
    for _ in range(l):
        sent = time.perf_counter()
        handle = await client.enqueue(steps.bind(PAYLOAD, 1))
        await handle.result()
        times.append(1e3 * (time.perf_counter() - sent))
    return times


def _quantiles(times: list[float]) -> dict[str, float]:
    """Return what is told of times in ms, sorted."""
    return {f"p{q}_ms": round(times[min(len(times) - 1, len(times) * q // 100)], 2) for q in (50, 95, 99)}


async def w3(client: Client, *, f: int) -> Figures:
    """One run that fans out F steps."""
    began = time.perf_counter()
    done = await (await client.enqueue(fan_out.bind(PAYLOAD, f))).result()
    assert done == f
    return Figures(1, time.perf_counter() - began)


async def w3_children(client: Client, *, f: int) -> Figures:
    """One run that fans out F children of a step each, after one with a child, as the peers' scripts have it."""
    await (await client.enqueue(family.bind(PAYLOAD, 1))).result()
    began = time.perf_counter()
    done = await (await client.enqueue(family.bind(PAYLOAD, f))).result()
    assert done == f
    seconds = time.perf_counter() - began
    return Figures(f + 1, seconds, f / seconds)


async def w4(client: Client, *, s: int) -> Figures:
    """One run of S steps in sequence; the growth is read from the times in its journal."""
    began = time.perf_counter()
    handle = await client.enqueue(steps.bind(PAYLOAD, s))
    await handle.result()
    seconds = time.perf_counter() - began
    at = [item.at.timestamp() async for item in client.runs.history(handle.run_id) if item.ok is not None]
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


async def w6(client: Client, *, r: int, t: int) -> Figures:
    """A mix for T seconds, R runs a second at times of their own, so that a slow answer delays no other run.

    Payloads of 4 kB, a key each, three tasks in a row; in every tenth run one fails before it succeeds, and every fifth
    sleeps for 200 ms in between. From the call to the first task's begin, and to the result in the client's hand.
    """
    draw = random.Random(6)  # each measurement gets the same mix
    to_start: list[float] = []
    to_end: list[float] = []

    async def one(number: int) -> None:
        payload = {"a": draw.randbytes(2_000).hex()}
        call = mixed.options(idempotency_key=f"mix-{number}").bind(
            payload, int(number % 10 == 0), 200 if number % 5 == 1 else 0
        )
        sent = time.time()
        began = await (await client.enqueue(call)).result()
        to_start.append(1e3 * (began - sent))
        to_end.append(1e3 * (time.time() - sent))

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        due = 0.0
        for number in range(r * t):
            due += draw.expovariate(r)
            if (left := started + due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            tasks.create_task(one(number))
    quantiles = {
        f"{name}_p{q}_ms": round(sorted(times)[len(times) * q // 100], 2)
        for name, times in (("start", to_start), ("end", to_end))
        for q in (50, 99)
    }
    return Figures(r * t, time.perf_counter() - started, None, quantiles)


async def w7_one_by_one(client: Client, *, l: int, suspended: int) -> Figures:  # noqa: E741
    """L runs that wait for an event each get theirs, one after the other: from the send to the result in hand.

    They linger in a worker's memory, or have left it.
    """
    from bench.events import go_on, waiter

    handles = [await client.enqueue(waiter.bind()) for _ in range(l)]
    await _until_waiting(client, l if suspended else 0)
    began = time.perf_counter()
    times = []
    for handle in handles:
        sent = time.perf_counter()
        await handle.send(go_on, PAYLOAD)
        await handle.result()
        times.append(1e3 * (time.perf_counter() - sent))
    return Figures(l, time.perf_counter() - began, None, _quantiles(sorted(times)))


async def w7_many(client: Client, *, n: int) -> Figures:
    """N runs that have left memory get an event each by one send, until the last one has completed."""
    from bench.events import go_on, waiter

    handles = await client.enqueue_many(waiter.bind() for _ in range(n))
    await _until_waiting(client, n)
    began = time.perf_counter()
    outcomes = await client.runs.send([handle.run_id for handle in handles], go_on, PAYLOAD)
    assert not [outcome for outcome in outcomes if outcome.error is not None]
    await asyncio.gather(*(handle.result() for handle in handles))
    seconds = time.perf_counter() - began
    return Figures(n, seconds, n / seconds)


async def _until_waiting(client: Client, count: int) -> None:
    """Return when so many runs wait outside of any worker, and none is queued."""
    while True:
        rows = (await client.runs.summary()).counts
        at = {state: sum(row.runs for row in rows if row.state is state) for state in (State.WAITING, State.QUEUED)}
        if at[State.WAITING] >= count and not at[State.QUEUED]:
            return
        await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Workload:
    """A workload with its parameters. `limit` is the sketch's workload to compare with, if it has one."""

    name: str
    measure: Callable[..., Awaitable[Figures]]
    params: dict[str, int]
    notes: str
    needs_worker: bool = True
    processes: int = 1
    """Daemons, and workers."""
    limit: str | None = None
    flows: str = "bench.flows"
    """The module that its workers serve."""

    @property
    def label(self) -> str:
        """Return what the table calls it."""
        size = " ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.name} {size} {self.notes}".strip()


WORKLOADS = [
    Workload("W1", w1, {"n": 2000, "k": 5}, "enqueue_many", limit="W1"),
    Workload("W2", w2, {"l": 200}, "enqueue, result", limit="W2"),
    Workload("W2", w2_at_once, {"l": 20, "k": 20}, "at once"),
    Workload("W2", w2, {"l": 200}, "two daemons, two workers", processes=2),
    Workload("W3", w3, {"f": 500}, "tasks"),
    Workload("W3", w3, {"f": 2000}, "tasks"),
    Workload("W3", w3_children, {"f": 500}, "children"),
    Workload("W3", w3_children, {"f": 5000}, "children"),
    Workload("W4", w4, {"s": 1000}, ""),
    Workload("W4", w4, {"s": 5000}, ""),
    Workload("W5", w5_one_by_one, {"m": 5000}, "enqueue, 500 at a time", needs_worker=False, limit="W5"),
    Workload("W5", w5_many, {"m": 5000}, "enqueue_many", needs_worker=False, limit="W5"),
    Workload("W6", w6, {"r": 100, "t": 60}, "mix"),
    Workload("W7", w7_one_by_one, {"l": 200, "suspended": 0}, "event, result", flows="bench.events"),
    Workload("W7", w7_one_by_one, {"l": 200, "suspended": 1}, "event, result", flows="bench.events"),
    Workload("W7", w7_many, {"n": 10_000}, "events in one send", flows="bench.events"),
]
