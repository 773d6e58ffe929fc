"""Own the worker: its slots, its runs, and the order of its start and end.

It wires the parts together and is the `Host` of every execution; it must never decide what a run does next.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import AikiError, Unavailable, UsageError
from aiki.core.states import Event
from aiki.execution import Execution, Settings
from aiki.execution.order import HASH_SEED_VARIES
from aiki.registry import Registry
from aiki.wire.messages import Claim, Claimed, ClaimReply, End, Fence, Page, Record, Route, Unit
from aiki.worker.claims import Claims
from aiki.worker.clock import DatabaseClock
from aiki.worker.recorder import TURN_RUNS, Recorder
from aiki.worker.session import Session, SessionCallbacks
from aiki.worker.slots import Slots

if TYPE_CHECKING:
    from aiki.client import Client
    from aiki.workflow import Workflow

STOP_SECONDS: Final = 5.0
"""After the drain time: how long runs get to record and give back what they hold."""
MIN_LEASE_SECONDS: Final = 1.0

log = logging.getLogger("aiki.worker")


class Worker:
    """A worker in code: `async with Worker(client, workflows=[...]) as worker: await worker.run()`.

    It starts at the block's begin and drains at its end. `id` names it to people (default: host and process id);
    `max_concurrent_runs` counts runs that can move, those that only wait hold no slot; `drain` is how long tasks may
    go on after a stop; `lease` is after how long without a sign of life its runs go to other workers.
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
    ) -> None:
        if max_concurrent_runs < 1:
            raise UsageError(f"max_concurrent_runs must be at least 1, not {max_concurrent_runs}")
        self.id = id or f"{socket.gethostname()}-{os.getpid()}"
        self.registry = Registry(workflows)
        self._client = client
        self._drain_seconds = to_seconds(drain)
        self._lease_seconds = to_seconds(lease)
        if self._lease_seconds < MIN_LEASE_SECONDS:
            raise UsageError(f"a lease of {self._lease_seconds:g} s is too short: at least {MIN_LEASE_SECONDS:g} s")
        self._settings = Settings(linger_seconds=to_seconds(linger))
        self._clock = DatabaseClock()
        self._recorder = Recorder(client.transport, self._clock)
        self._slots = Slots(max_concurrent_runs, self._on_free)
        self._executions: dict[str, Execution] = {}
        self._held: Counter[str] = Counter()
        """How many runs each claim still holds, by claim_id; read by the lease thread."""
        self._session: Session | None = None
        self._claims: Claims | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._emptied = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Open the session and begin to claim. Raises UsageError without workflows, Unavailable without a daemon."""
        if not len(self.registry):
            raise UsageError("a worker needs at least one workflow", hint="Worker(client, workflows=[...])")
        transport = self._client.transport
        self._session = Session(
            url=transport.url,
            namespace=transport.namespace,
            worker=self.id,
            routes=[_route(workflow) for workflow in self.registry],
            ttl=self._lease_seconds,
            callbacks=SessionCallbacks(
                held=lambda: list(self._held),
                on_lost=self._on_lease_lost,
                on_unlisted=self._give_back,
                on_reply=self._clock.told,
            ),
        )
        await self._session.open()
        routes = [(workflow.name, workflow.version) for workflow in self.registry]
        self._claims = Claims(transport, self._session, self._slots, routes, self._on_claimed)
        self._claiming = asyncio.create_task(self._claims.run())
        self._claiming.add_done_callback(self._on_claims_over)
        if HASH_SEED_VARIES:
            log.warning(
                "PYTHONHASHSEED is not 0: a workflow that walks through a set of text goes another way in each process,"
                " and is blocked when it is resumed in another one; start this program with PYTHONHASHSEED=0"
            )
        log.info("worker %s serves %s", self.id, ", ".join(f"{name} {version}" for name, version in routes))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain: claim nothing more, let tasks end within `drain`, record them, give everything else back at once."""
        assert self._session is not None
        assert self._claiming is not None
        self.stop()
        self._claiming.cancel()
        await asyncio.wait([self._claiming])
        for execution in list(self._executions.values()):
            execution.drain()
        if not await self._is_empty_within(self._drain_seconds):
            log.warning("%d runs did not come to a stop within %g s", len(self._executions), self._drain_seconds)
            for execution in list(self._executions.values()):
                execution.stop()
            await self._is_empty_within(STOP_SECONDS)
        await self._recorder.close()
        for execution in list(self._executions.values()):
            execution.drop()
        for task in self._background:
            task.cancel()
        await self._session.close()
        self._settings.close()

    async def run(self) -> None:
        """Serve until `stop()`. Raises what made claiming impossible."""
        assert self._claiming is not None, "a Worker runs inside its `async with` block"
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([stopped, self._claiming], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self._claiming.done() and not self._claiming.cancelled():
            self._claiming.result()

    def stop(self) -> None:
        """Make `run()` return, so that the block's end drains. Call it on the worker's loop."""
        self._stopped.set()

    # -- what an execution asks of its host

    def now(self) -> int:
        """Return the database's time in microseconds."""
        return self._clock.now()

    def may_start(self) -> bool:
        """Tell whether the lease is certain, so that a side effect may be started."""
        assert self._session is not None
        return self._session.may_start()

    def record(self, execution: Execution, unit: Unit) -> None:
        """Send the unit; `execution.on_recorded` gets its answer."""
        self._recorder.submit(execution, unit)

    def fetch_page(self, execution: Execution, after: int) -> None:
        """Read the next page of the journal; `execution.on_page` gets it."""
        self._start(self._fetch_page(execution, after))

    def lingering(self, execution: Execution) -> None:
        """Free the slot of a run that only waits."""
        self._slots.linger(execution)

    def wants_slot(self, execution: Execution) -> None:
        """Answer with `execution.on_slot()`, now or as soon as a slot is free."""
        self._slots.resume(execution)

    def ended(self, execution: Execution) -> None:
        """Forget an execution whose claim is over."""
        fence = execution.fence
        if self._executions.get(fence.run_id) is execution:
            del self._executions[fence.run_id]
        self._let_go(fence.claim_id)
        self._slots.end(execution)
        if not self._executions:
            self._emptied.set()

    # -- what happens to the worker

    async def _on_claimed(self, reply: ClaimReply, request: Claim) -> None:
        self._clock.told(reply.now)
        if not reply.alive or self._stopped.is_set():
            self._start(self._give_back([claimed.fence for claimed in reply.runs]))
            return
        # Held before the first one starts: a renewal in between must list the claim.
        self._held[request.claim_id] += len(reply.runs)
        for place, claimed in enumerate(reply.runs, 1):
            # Lost since the claim, or in a turn of this loop: the runs are another's by now, or soon (promise P7).
            if self._session is None or request.session != self._session.id:
                self._let_go(request.claim_id)
                continue
            self._begin(claimed)
            if place % TURN_RUNS == 0:
                await asyncio.sleep(0)

    def _let_go(self, claim_id: str) -> None:
        self._held[claim_id] -= 1
        if self._held[claim_id] <= 0:
            del self._held[claim_id]

    def _begin(self, claimed: Claimed) -> None:
        workflow = self.registry.get(claimed.workflow, claimed.version)
        if workflow is None:
            raise AssertionError(f"claimed a run of {claimed.workflow} {claimed.version}, which was not asked for")
        earlier = self._executions.get(claimed.fence.run_id)
        if earlier is not None:
            # The daemon gave the run away and back to us: the earlier claim is fenced by now.
            earlier.drop()
        execution = Execution(claimed, workflow, self, settings=self._settings)
        self._executions[claimed.fence.run_id] = execution
        self._emptied.clear()
        self._slots.take(execution)
        execution.start()

    def _on_free(self) -> None:
        if self._claims is not None:
            self._claims.wake()

    def _on_claims_over(self, claiming: asyncio.Task[None]) -> None:
        if not claiming.cancelled() and (error := claiming.exception()):
            log.critical("claiming ended: %s", error, exc_info=error)

    async def _on_lease_lost(self) -> None:
        for execution in list(self._executions.values()):
            execution.drop()

    async def _give_back(self, fences: list[Fence]) -> None:
        """Release runs that the daemon counts as ours and that no execution holds (promise P1)."""
        held = {execution.fence.claim_id for execution in self._executions.values()}
        units = [
            Unit(fence, 0, [], [], End(Event.RELEASE, why="the claim's reply was lost"))
            for fence in fences
            if fence.claim_id not in held
        ]
        if not units:
            return
        try:
            await self._client.transport.call(Record(units))
        except AikiError as error:
            log.warning("%d runs were not given back, the next renewal names them again: %s", len(units), error)

    async def _fetch_page(self, execution: Execution, after: int) -> None:
        while execution.fence.run_id in self._executions:
            try:
                reply = await self._client.transport.call(Page(execution.fence.run_id, after))
            except Unavailable as error:
                log.warning("the journal of run %s is waited for: %s", execution.fence.run_id, error)
                continue
            execution.on_page(reply.entries)
            return

    async def _is_empty_within(self, seconds: float) -> bool:
        if self._executions:
            try:
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
            except TimeoutError:
                return False
        return True

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _route(workflow: Workflow[..., Any]) -> Route:
    parameters = msgspec.Raw(msgspec.json.encode(workflow.parameters.schema()))
    return Route(workflow.name, workflow.version, parameters)
