"""Own the worker: its slots, its runs, and the order of its start and end.

It wires the parts together and is the `Host` of every execution; it must never decide what a run does next.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from aiki.client.client import Client
from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import Denied, UsageError
from aiki.definitions.registry import Registry
from aiki.execution import Bench, ClaimedRun, Execution, Lease, Limits, Pools
from aiki.execution.order import HASH_SEED_VARIES
from aiki.wire.declared import to_wire
from aiki.wire.limits import CLAIM_RUNS
from aiki.wire.messages import NONE, Claimed, ClaimReply, OpenSession, Page, Route, Unit
from aiki.wire.packing import payload_misfit
from aiki.worker.claims import Asked, Claims, Pace
from aiki.worker.clock import DatabaseClock
from aiki.worker.interrupts import obeying_ctrl_c
from aiki.worker.inventory import Inventory
from aiki.worker.lifespan import Lifespan, Shared
from aiki.worker.news import News
from aiki.worker.parking import Parking
from aiki.worker.reads import Reads
from aiki.worker.recorder import TURN_RUNS, Recorder
from aiki.worker.session import Session, SessionCallbacks
from aiki.worker.slots import Reservation, Slots
from aiki.worker.talk import Talk
from aiki.worker.talk import log as runs_log

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow

STOP_SECONDS: Final = 5.0
"""After the drain time: how long runs get to record and give back what they hold."""
MIN_LEASE_SECONDS: Final = 1.0
MIN_IDLE_SECONDS: Final = 0.1
MAX_IDLE_SECONDS: Final = 3600.0

log = logging.getLogger("aiki.worker")


class Worker:
    """A worker in code: `async with Worker(client, workflows=[...]) as worker: await worker.run()`.

    It starts at the block's begin and drains at its end. `id` names it to people (default: host and process id);
    `max_concurrent_runs` counts runs that can move, those that only wait hold no slot; `drain` is how long tasks may
    go on after a stop; `lease` is after how long without a sign of life its runs go to other workers; `start_timeout`
    is how long NATS may refuse the credentials, or what a worker must be permitted, before `run()` raises Denied.

    `lifespan` makes what tasks share (pools, HTTP clients): a function that returns an async context manager, entered
    before the first run and left after the drain; `task_run().shared(Type)` gives its value. `fetch_batch`, 1 to 200,
    is the most runs in one claim; `idle_poll`, 100 ms to 1 h, is how long an idle worker waits for a hint before it
    asks by itself: what a hint that got lost may cost.
    """

    def __init__(
        self,
        client: Client,
        *,
        workflows: Iterable[Workflow[..., Any]] = (),
        id: str | None = None,
        max_concurrent_runs: int = 100,
        drain: Duration = "30s",
        lease: Duration = "30s",
        linger: Duration = "10s",
        start_timeout: Duration = "30s",
        lifespan: Lifespan | None = None,
        fetch_batch: int = CLAIM_RUNS,
        idle_poll: Duration = "5s",
    ) -> None:
        if not isinstance(client, Client):
            raise UsageError(
                f"a Worker takes a Client, not a {type(client).__name__}",
                hint="async with Client.connect() as client: ...",
            )
        if max_concurrent_runs < 1:
            raise UsageError(f"max_concurrent_runs must be at least 1, not {max_concurrent_runs}")
        self.id = id or f"{socket.gethostname()}-{os.getpid()}"
        self.registry = Registry(workflows, on_new=self._on_added)
        """What it serves; more may be added while it runs."""
        self._client = client
        self._drain_seconds = to_seconds(drain)
        self._lease_seconds = to_seconds(lease)
        if self._lease_seconds < MIN_LEASE_SECONDS:
            raise UsageError(f"a lease of {self._lease_seconds:g} s is too short: at least {MIN_LEASE_SECONDS:g} s")
        self._start_seconds = to_seconds(start_timeout)
        self._pace = _pace(fetch_batch, to_seconds(idle_poll))
        self._shared = Shared(lifespan)
        self._limits = Limits(linger_seconds=to_seconds(linger))
        self._pools = Pools()
        self._bench: Bench | None = None
        self._clock = DatabaseClock()
        self._talk = Talk(self._clock.now) if runs_log.isEnabledFor(logging.INFO) else None
        self._recorder = Recorder(client.transport, self._clock, self._talk)
        self._slots = Slots(max_concurrent_runs, self._on_free)
        self._executions: dict[str, Execution] = {}
        self._reads = Reads(client.transport, self._executions)
        self._news = News(client.transport, self._executions)
        self._inventory = Inventory()
        self._session: Session | None = None
        self._claims: Claims | None = None
        self._parking: Parking | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._denied: Denied | None = None
        """Why it has to end, if NATS has refused it for too long."""
        self._emptied = asyncio.Event()
        self._interrupts = ExitStack()
        """Holds Ctrl-C from `run()` to the end of the drain."""
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the session and begin to claim.

        Raises UsageError without workflows, ConfigError if the lifespan fails, Unavailable without a daemon.
        """
        if not len(self.registry):
            raise UsageError("a worker needs at least one workflow", hint="Worker(client, workflows=[...])")
        await self._shared.enter()
        try:
            await self._open()
        except BaseException:
            await self._shared.leave()
            raise
        return self

    async def _open(self) -> None:
        transport = self._client.transport
        served = [_route(workflow, transport.room) for workflow in self.registry]
        self._session = Session(
            transport,
            OpenSession(str(uuid.uuid4()), self.id, served, self._lease_seconds),
            inventory=self._inventory,
            callbacks=SessionCallbacks(
                on_lost=self._on_lease_lost,
                on_reply=self._clock.told,
                on_news=self._news.take,
                on_denied=self._on_denied,
            ),
            denied_seconds=self._start_seconds,
        )
        await self._session.open()
        self._news.listen(self._session.lease.session)
        routes = [(workflow.name, workflow.version) for workflow in self.registry]
        context = copy_context()

        def on_handed(*handed: Any) -> None:
            # As what is claimed: a push comes in the context of the connection, which was made before.
            context.run(self._on_handed, *handed)

        self._parking = Parking(transport, self._session, self._slots, clock=self._clock, on_handed=on_handed)
        self._claims = Claims(
            transport, self._session, self._slots, routes, self._pace, self._on_claimed, parking=self._parking
        )
        self._claiming = asyncio.create_task(self._claims.run())
        self._claiming.add_done_callback(self._on_claims_over)
        self._watching = asyncio.create_task(self._watch_refusals())
        if HASH_SEED_VARIES:
            log.warning(
                "PYTHONHASHSEED is not 0: a workflow that walks through a set of text goes another way in each process,"
                " and is blocked when it is resumed in another one; start this program with PYTHONHASHSEED=0"
            )
        log.info("worker %s serves %s", self.id, ", ".join(f"{name} {version}" for name, version in routes))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain: claim nothing more, let tasks end within `drain`, record them, give everything else back at once."""
        try:
            await self._close()
        finally:
            self._interrupts.close()
            await self._shared.leave()

    async def _close(self) -> None:
        assert self._session is not None
        assert self._claiming is not None
        assert self._parking is not None
        self.stop()
        self._claiming.cancel()
        await self._parking.close()
        await asyncio.wait([self._claiming])
        for execution in list(self._executions.values()):
            execution.drain()
        if not await self._is_empty_within(self._drain_seconds):
            log.warning("%d runs did not come to a stop within %g s", len(self._executions), self._drain_seconds)
            for execution in list(self._executions.values()):
                execution.stop()
            await self._is_empty_within(STOP_SECONDS)
        await self._recorder.close()
        if self._talk is not None:
            self._talk.close()
        for execution in list(self._executions.values()):
            execution.drop()
        if self._bench is not None:
            self._bench.close()
        if self._watching is not None:
            self._watching.cancel()
        self._reads.close()
        self._news.close()
        await self._session.close()
        self._pools.close()

    async def run(self) -> None:
        """Serve until `stop()`. Raises what made claiming impossible, Denied if NATS goes on refusing us, UsageError.

        Ctrl-C stops it too, where it is awaited by the main task of `asyncio.run()`; a second one ends the process.
        """
        if self._claiming is None:
            raise UsageError(
                "this Worker was not opened: it serves inside its `async with` block",
                hint="async with Worker(client, workflows=[...]) as worker: await worker.run()",
            )
        self._interrupts.enter_context(obeying_ctrl_c(self.stop, drain_seconds=self._drain_seconds))
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([stopped, self._claiming], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self._denied is not None:
            raise self._denied
        if self._claiming.done() and not self._claiming.cancelled():
            self._claiming.result()

    def stop(self) -> None:
        """Make `run()` return, so that the block's end drains. Call it on the worker's loop."""
        self._stopped.set()

    # -- what an execution asks of its host

    def now(self) -> int:
        """Return the database's time in microseconds."""
        return self._clock.now()

    def record(self, run: ClaimedRun, unit: Unit) -> None:
        """Send the unit; `run.on_recorded` gets its answer."""
        self._recorder.submit(run, unit)

    seconds = staticmethod(time.perf_counter)

    def room(self) -> int:
        """Return the bytes of a message to the daemon."""
        return self._client.transport.room

    def fetch_page(self, run: ClaimedRun, request: Page) -> None:
        """Read the next page of the journal; `run.on_page` gets it."""
        self._reads.page(run, request)

    def read_inbox(self, run: ClaimedRun, after: int) -> None:
        """Read what has come to the run; `run.on_inbox` gets it."""
        self._reads.inbox(run, after)

    def lingering(self, run: ClaimedRun) -> None:
        """Free the slot of a run that only waits."""
        self._slots.linger(run)

    def wants_slot(self, run: ClaimedRun) -> None:
        """Answer with `run.on_slot()`, now or as soon as a slot is free."""
        self._slots.resume(run)

    def ended(self, run: ClaimedRun) -> None:
        """Forget a run whose claim is over."""
        fence = run.fence
        if self._executions.get(fence.run_id) is run:
            del self._executions[fence.run_id]
        self._inventory.let_go(fence.claim_id)
        self._slots.end(run)
        if not self._executions:
            self._emptied.set()

    # -- what happens to the worker

    def _on_added(self, workflow: Workflow[..., Any]) -> None:
        if self._session is not None and self._claims is not None:
            self._session.serve(_route(workflow, self._client.transport.room))
            self._claims.serve((workflow.name, workflow.version))

    async def _on_claimed(self, reply: ClaimReply, asked: Asked) -> None:
        """Begin what was claimed. Each run of a reply is begun or given back, unless its session was lost."""
        self._clock.told(reply.now)
        claim_id = asked.request.claim_id
        # Held before the first one starts: a renewal in between must list the claim.
        given_back = self._inventory.hold(claim_id, [claimed.fence.run_id for claimed in reply.runs])
        for place, claimed in enumerate(reply.runs, 1):
            # Lost since the claim, or in a turn of this loop: the runs are another's by now, or soon (promise P7).
            if self._session is None or asked.lease is not self._session.lease:
                self._inventory.let_go(claim_id)
                continue
            why = "the claim's reply came late" if claimed.fence.run_id in given_back else None
            self._take_in(claimed, asked.lease, asked.reservation, declined=why)
            if place % TURN_RUNS == 0:
                await asyncio.sleep(0)

    def _on_handed(self, runs: list[Claimed], lease: Lease, reservation: Reservation, declined: str | None) -> None:
        """Begin what was handed over, or give it back if it is `declined` for a reason."""
        for claimed in runs:
            # A run is handed over when it is born, so what is held of it already is no older; and the daemon asks a
            # session for its routes.
            if claimed.fence.run_id in self._executions or not self._serves(claimed):
                self._inventory.let_go(claimed.fence.claim_id)
            else:
                self._take_in(claimed, lease, reservation, declined=declined)

    def _serves(self, claimed: Claimed) -> bool:
        return self.registry.get(claimed.workflow, claimed.version) is not None

    def _take_in(self, claimed: Claimed, lease: Lease, reservation: Reservation, *, declined: str | None) -> None:
        run_id = claimed.fence.run_id
        workflow = self.registry.get(claimed.workflow, claimed.version)
        if workflow is None:
            raise AssertionError(f"claimed a run of {claimed.workflow} {claimed.version}, which was not asked for")
        other = self._executions.get(run_id)
        if other is not None:
            # The daemon gave the run away and back to us: the earlier claim is fenced by now.
            if other.fence.epoch > claimed.fence.epoch:
                self._inventory.let_go(claimed.fence.claim_id)
                return
            other.drop()
        bench = self._bench_under(lease)
        execution = Execution(claimed, workflow, self, bench=bench, limits=self._limits)
        self._executions[run_id] = execution
        self._emptied.clear()
        if declined is not None:
            execution.decline(declined)
        elif self._stopped.is_set():
            execution.decline("its worker stops")
        elif claimed.wanted is not None:  # its number counts as seen: nobody says it again
            execution.decline("it was to be paused when its claim came")
        elif not self._slots.take(execution, reservation):
            execution.decline("its worker had no slot left")
        else:
            if self._talk is not None:
                self._talk.began(claimed)
            execution.start()
            self._news.began(execution)

    def _bench_under(self, lease: Lease) -> Bench:
        """Return what tries work with under this lease: one bench for all runs that were claimed under it."""
        if self._bench is None or self._bench.lease is not lease:
            if self._bench is not None:
                self._bench.close()
            self._bench = Bench(lease, now=self.now, room=self.room, pools=self._pools, shared=self._shared.value)
        return self._bench

    def _on_free(self) -> None:
        if self._claims is not None:
            self._claims.wake()

    def _on_claims_over(self, claiming: asyncio.Task[None]) -> None:
        if not claiming.cancelled() and (error := claiming.exception()):
            log.critical("claiming ended: %s", error, exc_info=error)

    async def _watch_refusals(self) -> None:
        self._on_denied(await self._client.transport.denied(self._start_seconds))

    def _on_denied(self, error: Denied) -> None:
        self._denied = self._denied or error
        self.stop()

    def _on_lease_lost(self, lease: Lease) -> None:
        if self._session is not None:
            self._news.listen(self._session.lease.session)
        for execution in list(self._executions.values()):
            if execution.lease is lease:
                execution.drop()

    async def _is_empty_within(self, seconds: float) -> bool:
        if self._executions:
            try:
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
            except TimeoutError:
                return False
        return True


def _pace(fetch_batch: int, idle_seconds: float) -> Pace:
    if type(fetch_batch) is not int or not 1 <= fetch_batch <= CLAIM_RUNS:
        raise UsageError(f"fetch_batch={fetch_batch!r}: it must be a whole number from 1 to {CLAIM_RUNS}")
    if not MIN_IDLE_SECONDS <= idle_seconds <= MAX_IDLE_SECONDS:
        raise UsageError(f"idle_poll is {idle_seconds:g} s: it must be from 100 ms to 1 h")
    return Pace(fetch_batch, idle_seconds)


def _route(workflow: Workflow[..., Any], room: int) -> Route:
    schema = msgspec.Raw(msgspec.json.encode(workflow.parameters.schema()))
    declared = None if workflow.events is None else {event.name: event.schema() for event in workflow.events}
    events = to_wire(declared)
    what = f"the JSON Schema of workflow {workflow.name!r}, with those of its events,"
    if error := payload_misfit(len(schema) + len(events), what, room=room):
        log.warning("%s: what it is sent by name is checked by workers alone", error)
        schema, events = NONE, to_wire(declared and {name: {} for name in declared})
    return Route(
        workflow.name,
        workflow.version,
        schema,
        timeout=workflow.declared.timeout,
        cancel_timeout=workflow.declared.cancel_timeout,
        events=events,
    )
