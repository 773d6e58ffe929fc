"""Own the worker in memory: it claims from the engine, and is the host of the executions of what it has claimed.

It must never decide what a run does next, nor when the clock goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from aiki.core.errors import NotFound, PayloadError
from aiki.core.keys import task_of
from aiki.definitions import stored
from aiki.definitions.routes import route_of
from aiki.execution import Bench, Execution, Lease, Pools
from aiki.testing.memory.store import NAMESPACE
from aiki.wire.limits import CLAIM_RUNS, LOOKED_ITEMS, MESSAGE_BYTES
from aiki.wire.messages import Claim, CloseSession, Inbox, Looked, OpenSession, Record

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow
    from aiki.execution import ClaimedRun
    from aiki.testing.clock import Clock, ClockLoop
    from aiki.testing.engine import Engine
    from aiki.testing.finding import Served
    from aiki.testing.ways import Ways
    from aiki.wire.messages import Claimed, Page, Request, Told, Unit

R = TypeVar("R")
log = logging.getLogger("aiki.testing")

_WORKER: Final = "test"
_LINE: Final = '  File "'
"""What a line of a traceback begins with that names a place."""


class Host:
    """The worker of one engine. A crash loses it, and the next one has a session of its own."""

    seconds = staticmethod(time.perf_counter)

    def __init__(self, engine: Engine, clock: Clock, loop: ClockLoop, served: Served, ways: Ways) -> None:
        self._engine = engine
        self._clock = clock
        self._loop = loop
        self._served = served
        self._ways = ways
        self._held: dict[str, Execution] = {}
        self.recorded = 0
        """How many units were written."""
        self._pools = Pools()
        self._claims = count(1)
        self._sessions = count(1)
        self._is_claiming = False
        self._bench: Bench
        self.open()

    @property
    def trying(self) -> int:
        """How many tries of tasks run now."""
        return sum(run.trying for run in self._held.values())

    def serve(self, workflow: Workflow[..., Any]) -> None:
        """Claim runs of a workflow from now on."""
        route = (workflow.name, workflow.version)
        if route not in self._routes:
            self._routes[route] = None
            self._engine.answer(OpenSession(self._bench.lease.session, _WORKER, [route_of(workflow, MESSAGE_BYTES)]))
            self.claim_soon()

    def claim_soon(self) -> None:
        """Claim what is queued, in the loop's next turn."""
        if not self._is_claiming:
            self._is_claiming = True
            self._loop.call_soon(self._claim)

    def told(self, session: str, told: Told) -> None:
        """Tell runs that something has come to them, in the loop's next turn."""
        if session != self._bench.lease.session:
            return
        for run_id, number in told.runs:
            if (run := self._held.get(run_id)) is not None:
                self._soon(run, partial(run.on_news, number, told.arrivals.get(run_id, ())))

    def look(self, session: str, run_id: str, items: int = LOOKED_ITEMS) -> Looked | None:
        """Return what stands of a run in memory; None to whoever asks another session."""
        if session != self._bench.lease.session:
            return None
        run = self._held.get(run_id)
        return Looked(self.now(), held=False) if run is None else run.look(items)

    def suspend(self) -> None:
        """Have all runs leave memory that only wait."""
        for run in list(self._held.values()):
            run.suspend()

    def open(self) -> None:
        """Serve all workflows that are known, under a session of its own."""
        lease = Lease(str(UUID(int=next(self._sessions))), certain_until=math.inf)
        ways = self._ways
        self._bench = Bench(
            lease,
            now=self.now,
            room=self.room,
            pools=self._pools,
            namespace=NAMESPACE,
            shared=ways.shared,
            loop=self._loop,
            stand_in=ways.stand_in,
        )
        self._routes = {(one.name, one.version): None for one in self._served.registry}
        routes = [route_of(one, MESSAGE_BYTES) for one in self._served.registry]
        self._engine.answer(OpenSession(lease.session, _WORKER, routes))
        self.claim_soon()

    def drain(self) -> None:
        """Have all runs be given back, as soon as their tasks that run have ended, and claim nothing more."""
        self._routes.clear()
        for run in list(self._held.values()):
            run.drain()

    def leave(self) -> None:
        """End the session of a worker that has drained."""
        self._engine.answer(CloseSession(self._bench.lease.session))
        self._bench.close()

    def crash(self) -> None:
        """Lose all that is not recorded, without a word; another worker takes its place."""
        self._drop()
        self._engine.lose(self._bench.lease.session)
        self.open()

    def close(self) -> None:
        """Drop all runs, and end the threads."""
        self._drop()
        self._pools.close()

    # -- what an execution asks of its host

    def now(self) -> int:
        """Return the clock's time in microseconds."""
        return self._clock.now

    def room(self) -> int:
        """Return the bytes of a message."""
        return MESSAGE_BYTES

    def record(self, run: ClaimedRun, unit: Unit) -> None:
        """Write the unit in the loop's next turn; `run.on_recorded` gets its answer."""
        self._soon(run, lambda: self._record(run, unit))

    def fetch_page(self, run: ClaimedRun, request: Page) -> None:
        """Read the next page of the journal; `run.on_page` gets it."""
        self._soon(run, lambda: self._read(run, request, run.on_page))

    def read_inbox(self, run: ClaimedRun, after: int) -> None:
        """Read what has come to the run; `run.on_inbox` gets it."""
        self._soon(run, lambda: self._read(run, Inbox(run.fence.run_id, after), run.on_inbox))

    def read_ends(self, run: ClaimedRun, after: int) -> None:
        """Read ends of children that its entries have taken; `run.on_ends` gets them."""
        self._soon(run, lambda: self._read(run, Inbox(run.fence.run_id, after, ends=True), run.on_ends))

    def lingering(self, run: ClaimedRun) -> None:
        """Do nothing: there are slots for all."""

    def wants_slot(self, run: ClaimedRun) -> None:
        """Answer with `run.on_slot()` in the loop's next turn."""
        self._soon(run, run.on_slot)

    def ended(self, run: ClaimedRun) -> None:
        """Forget a run whose claim is over."""
        if self._held.get(run.fence.run_id) is run:
            del self._held[run.fence.run_id]

    # -- private

    def _drop(self) -> None:
        for run in list(self._held.values()):
            run.drop()
        self._bench.close()

    def _soon(self, run: ClaimedRun, do: Callable[[], None]) -> None:
        self._loop.call_soon(self._if_held, run, do)

    def _if_held(self, run: ClaimedRun, do: Callable[[], None]) -> None:
        if self._held.get(run.fence.run_id) is run:
            do()

    def _read(self, run: ClaimedRun, request: Request[R], take: Callable[[R], None]) -> None:
        """Let the run have what the engine answers; one that has ended without its worker is dropped."""
        try:
            take(self._engine.answer(request))
        except NotFound:
            run.drop()
        except PayloadError as error:
            run.on_page_refused(error)

    def _claim(self) -> None:
        self._is_claiming = False
        if not self._routes or not self._engine.store.queued:
            return
        claim_id = f"claim-{next(self._claims)}"
        request = Claim(self._bench.lease.session, claim_id, list(self._routes), CLAIM_RUNS)
        reply = self._engine.answer(request)
        for claimed in reply.runs:
            self._begin(claimed)
        if reply.more:
            self.claim_soon()

    def _begin(self, claimed: Claimed) -> None:
        workflow = self._served.require(claimed.workflow, claimed.version)
        run = Execution(claimed, self._ways.body(workflow), self, bench=self._bench, limits=self._ways.limits)
        self._held[claimed.fence.run_id] = run
        if claimed.wanted is None:
            run.start()
        else:
            run.decline("it was to be paused when its claim came")

    def _record(self, run: ClaimedRun, unit: Unit) -> None:
        for start in unit.starts:
            self._meet(start.workflow, start.version)
        if unit.end is not None and unit.end.version is not None:
            self._meet(run.claimed.workflow, unit.end.version)
        _log_failures(run, unit)
        self.recorded += 1
        recorded = self._engine.answer(Record([unit])).units[0]
        if self._ways.replays and unit.entries and unit.end is None:
            run.drain()
        run.on_recorded(recorded)

    def _meet(self, name: str, version: str) -> None:
        """Serve a workflow that a run names; one that is not found is queued, as without a worker for it."""
        if (workflow := self._served.find(name, version)) is not None:
            self.serve(workflow)


def _log_failures(run: ClaimedRun, unit: Unit) -> None:
    """Log where a body, or the last try of a task, has failed: who runs tests shows that beside what they assert.

    Of an error that went through no line of the user's, as one of a mock, there is nothing to show.
    """
    failed = [(f"task {task_of(one.key)!r}", one.value) for one in unit.entries if not one.ok and task_of(one.key)]
    if unit.end is not None:
        failed.append((f"workflow {run.claimed.workflow!r}", unit.end.error))
    for what, error in failed:
        if (failure := stored.read_failure(error)) is not None and _LINE in failure.traceback:
            log.warning("run %s: %s failed:\n%s", unit.fence.run_id, what, failure.traceback)
