"""A new run reaches a free worker in the commit that stores it, and never more runs than there are slots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from msgspec import Raw

from aiki import Client, Event, Handle, Unavailable, Worker, Workflow, WorkflowRun, task, workflow
from aiki.core.states import Move
from aiki.wire import codec, subjects
from aiki.wire.limits import DAEMONS
from aiki.wire.messages import Claimed, End, Enqueue, Fence, HandOver, Park, Parked, Record, Unit
from aikid.app import App
from aikid.engine import enqueue, record
from aikid.engine.changes import Handed
from aikid.engine.leaves import Line
from aikid.loops.reclaimer import Reclaimer
from aikid.store.pool import Pool
from tests.integration.daemon.asking import running_app
from tests.integration.daemon.engine import new_id, new_run
from tests.parts import parts
from tests.servers import USER, Nats
from tests.servers.proxy import Proxy, running_proxy
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

BORN = ["enqueued", "claim", "complete"]
WOKEN = ["enqueued", "claim", "wait", "arrive", "claim", "complete"]
RETURNED = ["enqueued", "claim", "release", "claim", "complete"]

started: list[int] = []
at_once: list[int] = [0, 0]
"""Tasks at the gate: now, and at most."""
gates: dict[str, asyncio.Event] = {}
tenant: ContextVar[str] = ContextVar("tenant", default="none")


@task
async def double(n: int) -> int:
    started.append(n)
    return 2 * n


@task
async def wait_at(gate: str) -> None:
    at_once[0] += 1
    at_once[1] = max(at_once)
    try:
        await gates.setdefault(gate, asyncio.Event()).wait()
    finally:
        at_once[0] -= 1


@workflow
async def doubling(run: WorkflowRun, n: int) -> int:
    return await double.run(run, n)


@workflow
async def waiting(run: WorkflowRun, gate: str) -> None:
    await wait_at.run(run, gate)


@workflow
async def waiting_after_sleep(run: WorkflowRun, gate: str) -> None:
    await wait_at.run(run, gate)
    await run.sleep("200ms")


approved = Event("approved", type=int)


@workflow
async def approving(run: WorkflowRun, n: int) -> int:
    await double.run(run, n)
    return n + await run.wait_for(approved)


@task
async def name_tenant() -> str:
    return tenant.get()


@workflow
async def naming_tenant(run: WorkflowRun) -> list[str]:
    return [tenant.get(), await name_tenant.run(run)]


@pytest.fixture(autouse=True)
def begin() -> None:
    started.clear()
    gates.clear()
    at_once[:] = [0, 0]


class Side:
    """A client and a worker of the test's namespace, at a daemon on the test's own loop."""

    def __init__(self, app: App, client: Client, worker: Worker) -> None:
        self.app = app
        self.client = client
        self.worker = worker

    @property
    def line(self) -> Line:
        (line,) = self.app.handoffs.leaves._lines.values()
        return line

    async def parked(self) -> None:
        """Return when the daemon has leave to hand over."""
        await wait_until(lambda: any(line.left > 0 for line in self.app.handoffs.leaves._lines.values()))

    async def hand_over(self, n: int = 4) -> tuple[Handle[int], list[Handed]]:
        """Enqueue a run that is born running, and do not tell its worker yet."""
        run = new_run(workflow=doubling.name, version=doubling.version, input=Raw(b'{"n":%d}' % n))
        done = await enqueue.enqueue(
            self.app.pool,
            self.app.routes,
            [(self.client.transport.namespace, Enqueue([run]))],
            room=self.app.bus.room,
            leaves=self.app.handoffs.leaves,
        )
        assert done.changes.handed
        return self.client.handle(run.id), done.changes.handed

    async def story(self, run_id: str) -> list[str]:
        return [item.move async for item in self.client.runs.history(run_id) if item.move != "entry"]


async def is_in(handle: Handle[Any], state: str) -> bool:
    return (await handle.status()).state.value == state


@asynccontextmanager
async def side(
    app: App,
    nats_url: str,
    namespace: str,
    *,
    worker_url: str = "",
    workflows: Sequence[Workflow[..., Any]] = (doubling, waiting, waiting_after_sleep),
    **options: Any,
) -> AsyncIterator[Side]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client.connect(nats_url, namespace=namespace))
        theirs = client
        if worker_url:
            theirs = await stack.enter_async_context(Client.connect(worker_url, namespace=namespace))
        worker = await stack.enter_async_context(Worker(theirs, workflows=workflows, **options))
        made = Side(app, client, worker)
        await made.parked()
        yield made
        for gate in gates.values():
            gate.set()


@pytest.fixture
async def one(app: App, nats: Nats, namespace: str) -> AsyncIterator[Side]:
    async with side(app, nats.url, namespace) as made:
        yield made


async def test_a_new_run_is_begun_without_a_claim(one: Side) -> None:
    handle = await doubling.enqueue(one.client, 4)
    assert await handle.result(timeout=ENOUGH) == 8
    status = await handle.status()
    assert status.started_at == status.created_at, "a claim would be another commit, and later"
    assert await one.story(handle.run_id) == BORN
    await wait_until(lambda: not one.app.handoffs._pushes, what="the word that it has come")


async def test_a_run_that_left_memory_and_is_woken_goes_on_without_a_hint(app: App, nats: Nats, namespace: str) -> None:
    async with side(app, nats.url, namespace, workflows=[approving], linger="0s") as one:
        handle = await approving.enqueue(one.client, 4)
        await wait_until(lambda: is_in(handle, "waiting"), what="the run's park")
        await one.parked()
        before = one.line.given
        await handle.send(approved, 3)
        assert await handle.result(timeout=ENOUGH) == 7
        assert (started, one.line.given) == ([4], before + 1)
        assert await one.story(handle.run_id) == WOKEN


async def test_a_woken_run_whose_receiver_is_gone_is_taken_back_at_once(app: App, nats: Nats, namespace: str) -> None:
    async with side(app, nats.url, namespace, workflows=[approving], linger="0s") as one:
        handle = await approving.enqueue(one.client, 4)
        await wait_until(lambda: is_in(handle, "waiting"), what="the run's park")
        await one.parked()
        await parts(one.worker).parking._inbox.close()
        await handle.send(approved, 3)
        assert await handle.result(timeout=ENOUGH) == 7
        assert await one.story(handle.run_id) == [*WOKEN[:-1], "release", "claim", "complete"]


async def test_a_run_that_is_woken_before_its_worker_knows_of_its_park_is_begun_anew(
    app: App, nats: Nats, namespace: str
) -> None:
    """What is held of it is of an earlier claim."""
    async with side(app, nats.url, namespace, workflows=[approving], linger="60s") as one:
        handle = await approving.enqueue(one.client, 4)
        await wait_until(lambda: parts(one.worker).slots._lingering, what="the run's rest")
        await one.parked()
        fence = parts(one.worker).runs.by_id[handle.run_id].fence
        park = Unit(fence, 1, [], [], End(Move.WAIT, seen=0, waits=["event:approved"]))
        calls = [(namespace, Record([park]))]
        await record.record(app.pool, calls, set(), room=app.bus.room, routes=app.routes)
        assert await is_in(handle, "waiting")
        await handle.send(approved, 3)
        assert await handle.result(timeout=ENOUGH) == 7
        assert (started, await one.story(handle.run_id)) == ([4], WOKEN)


async def test_a_new_run_has_the_context_of_its_worker(app: App, nats: Nats, namespace: str) -> None:
    """And not that of the connection, which was there before."""
    async with Client.connect(nats.url, namespace=namespace) as client:
        tenant.set("ours")
        async with Worker(client, workflows=[naming_tenant]) as worker:
            made = Side(app, client, worker)
            await made.parked()
            handle = await naming_tenant.enqueue(client)
            assert await handle.result(timeout=ENOUGH) == ["ours", "ours"]
            assert await made.story(handle.run_id) == BORN


async def test_whoever_watches_a_run_sees_it_run_and_end(one: Side) -> None:
    handle = await waiting.enqueue(one.client, "gate")
    seen = []
    async for status in handle.watch():
        seen.append(status.state.value)
        gates.setdefault("gate", asyncio.Event()).set()
    assert seen in (["running", "completed"], ["completed"])
    again = await waiting.enqueue(one.client, "gate")
    await again.result(timeout=ENOUGH)


# -- pushes that get lost, come twice, or late


async def test_a_run_whose_receiver_is_gone_is_taken_back_at_once(one: Side) -> None:
    await parts(one.worker).parking._inbox.close()
    handle = await doubling.enqueue(one.client, 4)
    assert await handle.result(timeout=ENOUGH) == 8
    assert await one.story(handle.run_id) == RETURNED


async def test_a_run_that_nobody_received_is_taken_back_once_storage_answers(one: Side) -> None:
    handle, (handed,) = await one.hand_over()
    app, away = one.app, Pool("postgresql://nobody@127.0.0.1:1/none", size=1)
    app.handoffs.miss(handed)
    with pytest.raises(Unavailable):
        await Reclaimer(away, app.handoffs, app.teller).run_once()
    assert await handle.result(timeout=ENOUGH) == 8
    assert await one.story(handle.run_id) == RETURNED


@pytest.fixture
def proxy(nats: Nats) -> Any:
    with running_proxy(nats.server.port) as made:
        yield made


async def is_running(handle: Handle[Any]) -> bool:
    return await is_in(handle, "running")


async def test_a_push_to_a_frozen_connection_is_repeated_and_begun_once(
    app: App, nats: Nats, namespace: str, proxy: Proxy
) -> None:
    async with side(app, nats.url, namespace, worker_url=proxy.url) as one:
        proxy.freeze()
        handle = await doubling.enqueue(one.client, 4)
        pushes = app.handoffs._pushes
        await wait_until(lambda: [push.tries for push in pushes.values()] == [3], what="two more tries")
        assert started == []
        proxy.thaw()
        assert await handle.result(timeout=ENOUGH) == 8
        await wait_until(lambda: not pushes, what="the word that it has come")
        assert (started, await one.story(handle.run_id)) == ([4], BORN)


async def test_a_push_that_a_lost_connection_has_swallowed_is_repeated_on_the_next(
    app: App, nats: Nats, namespace: str, proxy: Proxy
) -> None:
    async with side(app, nats.url, namespace, worker_url=proxy.url) as one:
        proxy.freeze()
        handle = await doubling.enqueue(one.client, 4)
        await wait_until(lambda: is_running(handle), what="the run's birth")
        proxy.cut()
        proxy.thaw()
        proxy.mend()
        assert await handle.result(timeout=ENOUGH) == 8
        assert (started, await one.story(handle.run_id)) == ([4], BORN)


async def test_a_worker_of_whom_nothing_is_heard_gets_no_further_runs(
    app: App, nats: Nats, namespace: str, proxy: Proxy
) -> None:
    """What a frozen one has been given waits for its lease."""
    async with side(app, nats.url, namespace, worker_url=proxy.url, lease="60s") as one:
        proxy.freeze()
        given = await doubling.enqueue(one.client, 4)
        pushes = app.handoffs._pushes
        await wait_until(lambda: [push.tries for push in pushes.values()] == [2], what="another try")
        further = await doubling.enqueue(one.client, 5)
        assert (await further.status()).state.value == "queued"
        assert await is_running(given)
        proxy.thaw()
        assert [await handle.result(timeout=ENOUGH) for handle in (given, further)] == [8, 10]
        await one.parked()


async def test_a_run_that_a_renewal_gave_back_is_not_begun_by_its_late_push(one: Side) -> None:
    handle, handed = await one.hand_over()
    fences = [run.fence for run in handed[0].runs]
    assert parts(one.worker).runs.inventory.give_back(fences) == fences
    one.app.handoffs.push(handed)
    assert await handle.result(timeout=ENOUGH) == 8
    assert (started, await one.story(handle.run_id)) == ([4], RETURNED)


async def test_a_run_that_comes_so_late_that_a_renewal_may_have_named_it_goes_back(one: Side) -> None:
    """As from a daemon that was frozen between the commit and the push."""
    handle, handed = await one.hand_over()
    handed[0].now -= 11_000_000
    one.app.handoffs.push(handed)
    assert await handle.result(timeout=ENOUGH) == 8
    assert (started, await one.story(handle.run_id)) == ([4], RETURNED)


async def test_a_hand_over_to_a_session_of_before_is_heard_of_and_not_begun(one: Side) -> None:
    handle, handed = await one.hand_over()
    handed[0].line.session = new_id()
    one.app.handoffs.push(handed)
    await wait_until(lambda: not one.app.handoffs._pushes, what="the word that it has come")
    assert started == []
    assert parts(one.worker).runs.inventory.held() == []
    assert await is_running(handle)


# -- slots


def slots_of(worker: Worker) -> int:
    """Return how many slots are spoken for, in any way."""
    service = parts(worker)
    return len(service.slots._active) + service.slots._reserved + service.claims._pulls.outstanding


async def test_half_of_the_free_slots_are_promised_and_pulls_get_the_rest(app: App, nats: Nats, namespace: str) -> None:
    async with side(app, nats.url, namespace, max_concurrent_runs=8) as one:
        line = one.line
        assert line.left == 4
        assert slots_of(one.worker) <= 8
        held = [await waiting.enqueue(one.client, "gate") for _ in range(4)]
        await wait_until(lambda: at_once[0] == 4, what="four tasks")
        await wait_until(lambda: line.left == 1, what="what pulls for three routes leave")
        assert slots_of(one.worker) <= 8
        gates["gate"].set()
        for handle in held:
            await handle.result(timeout=ENOUGH)
        await wait_until(lambda: line.left == 4, what="half of all")


async def test_a_worker_with_as_many_slots_as_routes_keeps_them_for_pulls(app: App, nats: Nats, namespace: str) -> None:
    """With one slot less it would do without hints: what nobody hands over would wait for up to a second."""
    async with (
        Client.connect(nats.url, namespace=namespace) as client,
        Worker(client, workflows=[doubling, waiting, waiting_after_sleep], max_concurrent_runs=3) as worker,
    ):
        pulls = parts(worker).claims._pulls
        await wait_until(lambda: pulls.outstanding == 3, what="a pull for each route")
        handles = [await doubling.options(delay="20ms").enqueue(client, n) for n in range(3)]
        for handle in handles:
            await handle.result(timeout=ENOUGH)
        await wait_until(lambda: pulls.outstanding == 3, what="a pull for each route")


async def test_a_daemon_that_hands_over_more_than_it_may_gets_it_back(app: App, nats: Nats, namespace: str) -> None:
    async with side(app, nats.url, namespace, max_concurrent_runs=2) as one:
        one.line.upto = 16
        handles = await one.client.enqueue_many([waiting.bind("gate") for _ in range(6)])
        await wait_until(lambda: at_once[0] == 2, what="two tasks")
        assert slots_of(one.worker) <= 2
        gates["gate"].set()
        for handle in handles:
            await handle.result(timeout=ENOUGH)
        assert at_once[1] == 2


async def test_a_lingering_run_gets_the_slot_that_was_promised(app: App, nats: Nats, namespace: str) -> None:
    """It wakes while all slots are promised or asked for; then the leaves are taken back."""
    async with side(app, nats.url, namespace, max_concurrent_runs=8) as one:
        slots = parts(one.worker).slots
        sleeper = await waiting_after_sleep.enqueue(one.client, "gate")
        await wait_until(lambda: at_once[0] == 1, what="its task")
        gates["gate"].set()
        await wait_until(lambda: slots._lingering, what="its rest")
        assert one.line.left > 0
        claim = slots.reserve(slots.free)
        await sleeper.result(timeout=ENOUGH)
        assert one.line.left <= 0
        slots.release(claim)
        await wait_until(lambda: one.line.left > 0, what="a leave as before")


async def test_two_daemons_hand_over_to_one_worker_and_never_more_than_it_has_slots(
    app: App, database: str, nats: Nats, namespace: str
) -> None:
    async with (
        running_app(database, nats.url) as rival,
        side(app, nats.url, namespace, max_concurrent_runs=5) as one,
    ):
        lines = parts(one.worker).parking._lines
        await wait_until(lambda: len(lines) == 2, what="a line of each")
        await wait_until(lambda: sum(line.promised for line in lines.values()) == 2, what="a leave for each")
        assert rival.handoffs.leaves._lines
        handles = [await waiting.enqueue(one.client, "gate") for _ in range(20)]
        await wait_until(lambda: at_once[0] == 5, what="five tasks")
        gates["gate"].set()
        for handle in handles:
            await handle.result(timeout=ENOUGH)
        assert at_once[1] == 5
        stories = [await one.story(handle.run_id) for handle in handles]
        assert all(story in (BORN, RETURNED) for story in stories)


# -- drain


async def test_what_comes_while_a_worker_drains_goes_back_at_once(app: App, nats: Nats, namespace: str) -> None:
    async with side(app, nats.url, namespace) as one:
        handle, handed = await one.hand_over()
        one.worker.stop()
        app.handoffs.push(handed)
    assert one.line.left <= 0, "it was withdrawn first"
    assert started == []
    async with Client.connect(nats.url, namespace=namespace) as client:
        assert [item.move async for item in client.runs.history(handle.run_id)] == [*BORN[:2], "release"]


# -- rights, and strangers


async def test_a_member_of_a_namespace_needs_no_other_rights_than_it_has(
    database: str, make_nats: Callable[[], Nats], namespace: str
) -> None:
    nats = make_nats()
    publish = [f"aiki.v1.{namespace}.>", "$JS.API.CONSUMER.MSG.NEXT.AIKI_RUNS.>", "$JS.ACK.AIKI_RUNS.>"]
    rights = {"publish": publish, "subscribe": ["_INBOX.>"]}
    member = {"user": "member", "password": "two", "permissions": rights}
    nats.configure(authorization={"users": [USER, member]})
    ours, theirs = (nats.url.replace("://", f"://{who}@") for who in ("aiki:one", "member:two"))
    async with running_app(database, ours) as app, side(app, theirs, namespace) as one:
        handle = await doubling.enqueue(one.client, 4)
        await handle.result(timeout=ENOUGH)
        assert await one.story(handle.run_id) == BORN
        await wait_until(lambda: not app.handoffs._pushes, what="the word that it has come")


async def test_what_strangers_push_begins_nothing_and_ends_nothing(one: Side) -> None:
    """Whoever sees an inbox may write there; what he says of numbers and runs is bounded, and nothing of it is kept."""
    parking, send = parts(one.worker).parking, one.client.transport._nats.send
    session, inbox = one.line.session, parking._inbox.subject
    fence = Fence(new_id(), 1, "c")
    runs = [
        Claimed(fence, fence.run_id, "never-served", "1", Raw(b"{}"), 1, 0),
        Claimed(Fence(new_id(), 1, "d"), new_id(), doubling.name, "1", Raw(b"{}"), 1, 0),
    ]
    for data in (
        b"",
        b"{}",
        b'{"type":"parked","line":"x","serial":0,"upto":1e99,"settled":0}',
        codec.encode(Parked("x", parking._serial + 9, 1 << 53, 1 << 53)),
        *(codec.encode(Parked(f"line-{n}", parking._serial, 1 << 53, 1 << 53)) for n in range(200)),
        codec.encode(HandOver("x", 1, session, 0, runs)),
        codec.encode(HandOver("x", 1, session, 0, runs[:1])),
        codec.encode(HandOver("x", 1, session, 0, [])),
        codec.encode(HandOver("x", 1, new_id(), 0, runs[1:])),
    ):
        send(inbox, data, reply="aiki.v1.elsewhere.api.status")
    for data in (b"", b"[]", b'{"session":"x"}', codec.encode(Park(session, "no.inbox", 9**9, 0, 0, []))):
        send(subjects.park(one.client.transport.namespace), data)
    handle = await doubling.enqueue(one.client, 4)
    assert await handle.result(timeout=ENOUGH) == 8
    assert started == [4]
    assert len(parking._lines) <= DAEMONS
    assert parts(one.worker).runs.inventory.held() == []
    await wait_until(lambda: len(parking._lines) == 1, what="the strangers' lines to be forgotten")
    await one.parked()
