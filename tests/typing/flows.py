"""What type checkers infer from definitions and calls. Checked by mypy and pyright, never executed."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, assert_type

from aiki.client.applying import Plan
from aiki.client.blocking import BlockingClient
from aiki.client.blocking_handle import BlockingHandle
from aiki.client.blocking_schedules import BlockingSchedule
from aiki.client.client import Client
from aiki.client.history import HistoryEntry
from aiki.client.named import NamedCall
from aiki.client.runs import RunPage
from aiki.client.schedule import Schedule
from aiki.client.schedule_info import ScheduleInfo, SlotInfo
from aiki.client.sending import SendOutcome
from aiki.client.when import When
from aiki.core.errors import AikiError, ChildFailed
from aiki.core.retry import Retry
from aiki.definitions.call import Call
from aiki.definitions.handle import Handle
from aiki.definitions.registry import Registry
from aiki.definitions.status import RunStatus
from aiki.definitions.task import AsyncTask, SyncTask, task
from aiki.definitions.workflow import Workflow, workflow
from aiki.inside.child import Child
from aiki.inside.event import BoundEvent, Event, Message
from aiki.inside.fired import FiredSlot
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.testing import Mock, TestEnv
from aiki.worker import Worker


@dataclass
class Order:
    id: str
    cents: int


@dataclass
class Reason:
    code: int


approved = Event("approved", type=str)
comment = Event("comment", type=str | None)
ping = Event("ping")
rejected = Event("rejected", type=Reason)
voted = Event("voted", type=int)
choice = Event("choice", type=Literal["a", "b"])


@task
async def charge(order: Order, *, note: str = "") -> str:
    return order.id + note


@task(retry=Retry.exponential(max_attempts=5, base_delay="1s"), timeout="20s", executor="thread")
def ship(order_id: str, express: bool = False) -> bool:
    return express


@task(
    name="store",
    at_most_once=True,
    record_arguments="none",
    total_timeout=timedelta(minutes=1),
    heartbeat_timeout="10s",
    cancel_grace="1m",
)
async def store(order: Order) -> None: ...


@workflow(name="process-order", version="1.0.0")
async def process(run: WorkflowRun, order: Order, *, express: bool = False) -> dict[str, str]:
    assert_type(await charge.run(run, order, note="x"), str)
    assert_type(await ship.options(idempotency_key="k").run(run, order.id, express=express), bool)
    charged, shipped = await asyncio.gather(charge.run(run, order), ship.run(run, order.id))
    assert_type(charged, str)
    assert_type(shipped, bool)
    await store.run(run, order)
    shared = charge.options(idempotency_key="k", idempotency_scope="workflow", idempotency_retention="90d")
    assert_type(await shared.run(run, order), str)
    async with asyncio.TaskGroup() as group:
        task_in_group = group.create_task(charge.run(run, order))
    assert_type(task_in_group.result(), str)
    return {"charge": charged}


@workflow(events=[approved, rejected])
async def talks(run: WorkflowRun) -> None:
    assert_type(await run.wait_for(approved), str)
    assert_type(await run.wait_for(comment, timeout="14d"), str | None)
    await run.wait_for(ping)
    print(await run.wait_for(approved), str(await run.wait_for(rejected)), len(await run.wait_for(approved)))
    anything: object = await run.wait_any(approved, rejected)
    print(anything, (await run.wait_any(approved, rejected)).value)
    assert_type(await run.wait_for(voted, count=3, timeout=timedelta(days=1)), list[int])
    who, why, votes = await asyncio.gather(
        run.wait_for(approved), run.wait_for(rejected, timeout="1h"), run.wait_for(voted, count=2)
    )
    assert_type(who, str)
    assert_type(why, Reason)
    assert_type(votes, list[int])
    assert_type(await run.wait_any(approved), Message[str])
    assert_type(await run.wait_any(approved, rejected, timeout="7d"), Message[str] | Message[Reason])
    assert_type(await run.wait_any(approved, ping, voted), Message[str] | Message[None] | Message[int])
    assert_type(await run.wait_any(approved, rejected, ping, voted, comment, choice), Message[Any])
    listed: list[Event[Any]] = [approved, rejected]
    assert_type(await run.wait_any(*listed), Message[Any])
    await run.send("id", ping)
    await run.send("id", approved, "alice", idempotency_key="k")


@workflow
async def count(run: WorkflowRun) -> list[int]:
    await run.sleep("1m")
    assert_type(run.set_details({"step": 1}), None)
    assert_type(run.set_labels({"stage": "printing", "team": None}), None)
    changes: dict[str, str] = {"stage": "printed"}
    run.set_labels(changes)
    return []


@workflow
async def poll(run: WorkflowRun, order: Order, *, seen: int = 0) -> int:
    assert_type(run.generation, int)
    assert_type(run.schedule, FiredSlot | None)
    if run.schedule is not None:
        assert_type((run.schedule.id, run.schedule.slot), tuple[str, datetime])
        assert_type(run.schedule.last_completed, datetime | None)
    assert_type(run.journal_size.entries + run.journal_size.bytes, int)
    if seen < 3:
        poll.continue_as_new(run, order, seen=seen + 1)
    return seen


@workflow
async def polls(run: WorkflowRun, order: Order) -> str:
    while True:
        await run.sleep("1m")
        if run.journal_size.entries > 4_000:
            polls.options(version="2").continue_as_new(run, order)


async def families(run: WorkflowRun, order: Order) -> None:
    assert_type(await count.run(run), list[int])
    far = process.options(parent_close="abandon", priority=3, labels={"a": "b"}, delay="5m", cancel_timeout="1h")
    child = await far.start(run, order, express=True)
    assert_type(child, Child[dict[str, str]])
    assert_type(child.run_id, str)
    await child.send(approved, "x")
    await child.send(ping)
    await child.send(comment, None)
    await child.cancel()
    await child.cancel(reason="no stock")
    try:
        assert_type(await child.result(), dict[str, str])
    except ChildFailed as error:
        assert_type(error.run_id, str)
    children = [await count.start(run) for _ in range(3)]
    assert_type(await run.all(children), list[list[int]])
    first, second = await asyncio.gather(count.start(run), process.start(run, order))
    assert_type(first, Child[list[int]])
    assert_type(second, Child[dict[str, str]])
    one, two = await asyncio.gather(first.result(), second.result())
    assert_type(one, list[int])
    assert_type(two, dict[str, str])
    counted, processed = await asyncio.gather(count.run(run), process.run(run, order))
    assert_type(counted, list[int])
    assert_type(processed, dict[str, str])
    either: list[Child[Any]] = [first, second]
    assert_type(await run.all(either), list[Any])
    wider: Child[object] = first
    print(wider)


def events(message: Message[str] | Message[Reason], many: Message[Any]) -> None:
    assert_type(approved, Event[str])
    assert_type(comment, Event[str | None])
    assert_type(ping, Event[None])
    assert_type(choice, Event[Literal["a", "b"]])
    assert_type(approved.bind("x"), BoundEvent[str])
    assert_type(ping.bind(), BoundEvent[None])
    assert_type(comment.bind(None), BoundEvent[str | None])
    assert_type(rejected.bind(Reason(1)).event, Event[Reason])
    assert_type(message.value, str | Reason)
    if approved.matches(message):
        assert_type(message.value, str)
    if rejected.matches(many):
        assert_type(many.value.code, int)


def definitions() -> None:
    assert_type(process.options(priority=3, labels={"a": "b"}, delay="5m").name, str)
    assert_type(process.options(retry=Retry.fixed(3, "1s"), retry_from="start").name, str)
    assert_type(ship("a"), bool)
    async_task: AsyncTask[..., str] = charge
    sync_task: SyncTask[..., bool] = ship.options(timeout="1s")
    flow: Workflow[..., list[int]] = count
    print(async_task, sync_task, flow)


async def application(client: Client) -> None:
    assert_type(await charge(Order("a", 1)), str)
    assert_type(process.bind(Order("a", 1), express=True), Call[dict[str, str]])
    handle = await process.options(idempotency_key="k").enqueue(client, Order("a", 1), express=True)
    assert_type(handle, Handle[dict[str, str]])
    assert_type(await handle.result(timeout="1m"), dict[str, str])
    assert_type(await count.handle(client, "id").result(), list[int])
    many = await client.enqueue_many(process.options(idempotency_key=str(n)).bind(Order("a", n)) for n in range(3))
    assert_type(many, list[Handle[dict[str, str]]])
    assert_type(await client.enqueue(count.bind()), Handle[list[int]])


async def senders(client: Client, blocking: BlockingClient) -> None:
    asking = workflow(name="ask", events=[approved, rejected, ping])(count.fn)
    handle = count.handle(client, "id")
    assert_type(await count.options(send=approved.bind("alice")).enqueue(client), Handle[list[int]])
    await handle.send(approved, "alice", idempotency_key="click-7")
    await handle.send(comment, None)
    await handle.send(ping)
    assert_type(await client.runs.send(["id"], rejected, Reason(1)), Sequence[SendOutcome])
    assert_type(blocking.runs.send(["id"], ping), Sequence[SendOutcome])
    assert_type(blocking.runs.send(["id"], "approved", "alice")[0].error, AikiError | None)
    blocking.handle("id").send(rejected, Reason(1))
    print(asking.events)


async def retriers(client: Client, blocking: BlockingClient) -> None:
    handle = count.handle(client, "id")
    assert_type(await handle.retry(), Handle[list[int]])
    assert_type(await handle.retry(from_task="ship", keep=["charge"], again="pay", force=True), Handle[list[int]])
    assert_type(await handle.retry(input=count.bind()), Handle[list[int]])
    assert_type(await handle.retry(input={"a": 1}), Handle[list[int]])
    assert_type(await client.runs.retry("id", from_start=True), RunStatus)
    assert_type(await client.runs.retry_batch(["id"], limit=5, per_second=2.5), Sequence[RunStatus | AikiError])
    assert_type(blocking.enqueue(count.bind()).retry(from_task="ship"), BlockingHandle[list[int]])
    count.options(idempotency_key="k", on_conflict="retry_failed").options(on_conflict="restart")


async def schedules(client: Client, blocking: BlockingClient, order: Order, then: datetime) -> None:
    made = client.schedules
    call = process.options(labels={"team": "a"}).bind(order)
    nightly = await made.create("nightly", call, cron="0 2 * * *", timezone="Europe/Berlin", overlap="queue", end=then)
    assert_type(nightly, Schedule[dict[str, str]])
    assert_type(await made.create("pulse", count.bind(), every="15m", jitter="10s", anchor=then), Schedule[list[int]])
    assert_type(await made.create("once", count.bind(), at=then), Schedule[list[int]])
    assert_type(await made.create("named", "count", {}, version="1", cron="@daily", priority=3), Schedule[Any])
    assert_type(await made.update("pulse", count.bind()), Schedule[list[int]])
    assert_type(await made.update("pulse", every="20m", end=None), Schedule[Any])
    assert_type(await nightly.trigger(), Handle[dict[str, str]])
    assert_type(await nightly.next(3), list[datetime])
    assert_type(await nightly.backfill(then, then, overlap="skip"), Sequence[Handle[dict[str, str]]])
    assert_type(await nightly.backfill(then, then, dry_run=True), Sequence[datetime])
    assert_type(await made.backfill("nightly", then, then), Sequence[SlotInfo])
    assert_type(await nightly.info(slots=3), ScheduleInfo)
    assert_type(await made.get("nightly").trigger(), Handle[Any])
    assert_type([one.seen for one in await made.list()], list[ScheduleInfo | None])
    await nightly.pause(note="holidays")
    pulsing = (count.bind(), When(every=timedelta(minutes=15)))
    plan = await made.apply("shop", {"nightly": (call, When(cron="@daily")), "pulse": pulsing}, prune=True)
    assert_type(plan, Plan)
    assert_type(blocking.schedules.apply("shop", {"named": (NamedCall("count"), When(at=then))}), Plan)
    pulse = blocking.schedules.create("pulse", count.bind(), every=timedelta(minutes=15))
    assert_type(pulse, BlockingSchedule[list[int]])
    assert_type(pulse.trigger(), BlockingHandle[list[int]])
    assert_type(pulse.backfill(then, then), Sequence[BlockingHandle[list[int]]])


@asynccontextmanager
async def lifespan() -> AsyncGenerator[Order, None]:
    yield Order("a", 1)


def worker(client: Client) -> None:
    made = Worker(client, workflows=[process], lifespan=lifespan, fetch_batch=50, idle_poll="5s")
    assert_type(made.registry.add(count).add(process), Registry)
    assert_type(task_run().shared(Order), Order)


def script(client: BlockingClient) -> None:
    handle = client.enqueue(process.bind(Order("a", 1)))
    assert_type(handle, BlockingHandle[dict[str, str]])
    assert_type(handle.result(timeout="1m"), dict[str, str])
    assert_type(handle.watch(), Iterator[RunStatus])
    assert_type(client.enqueue_many([count.bind()]), list[BlockingHandle[list[int]]])
    assert_type(client.runs.list(limit=5), RunPage)
    assert_type(client.runs.history(handle.run_id), Iterator[HistoryEntry])
    assert_type(handle.resume().origin_id, str)
    assert_type(client.runs.status([handle.run_id])[0].claims, int)


async def tests(order: Order) -> None:
    async with TestEnv(always_replay=True, strict=True, patience="5s", workflows=[process]) as env:
        assert_type(env, TestEnv)
        assert_type(env.mock(ship), Mock[bool])
        assert_type(env.mock(ship).fails(TimeoutError(), times=2).returns(True, False).takes("30s"), Mock[bool])
        assert_type(env.mock(count), Mock[list[int]])
        assert_type(env.mock(charge).calls, list[dict[str, Any]])
        assert_type(await env.enqueue(process, order), Handle[dict[str, str]])
        assert_type(await env.enqueue(process.options(priority=3), order), Handle[dict[str, str]])
        await env.advance(timedelta(days=30))
        await env.crash_worker()
        assert_type(env.now(), datetime)
        assert_type(env.client, Client)
