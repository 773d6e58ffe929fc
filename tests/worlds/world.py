"""Own a worker in memory, with a clock of its own, for tests of the execution core: one run of the engine in memory.

`World.crash` loses what is not in the journal. Runs that send to one another are worlds with one dict of `runs`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from msgspec import Raw

from aiki.core.errors import AikiError
from aiki.core.states import TERMINAL, Move, target
from aiki.core.states import State as RunState
from aiki.definitions.workflow import Workflow
from aiki.execution import Bench, ClaimedRun, Execution, Lease, Limits, Pools
from aiki.inside.event import BoundEvent
from aiki.rules import controlling
from aiki.rules.controlling import Obeyed
from aiki.rules.standing import Standing, woken
from aiki.testing.memory import cancels, control, sends, sessions
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Store
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    Arrival,
    CancelNote,
    End,
    Entry,
    NewRun,
    Outcome,
    Page,
    PageReply,
    Pause,
    Recorded,
    Resume,
    Sent,
    Unit,
    Wake,
)
from tests.worlds import writing
from tests.worlds.claims import SESSION, claimed
from tests.worlds.families import Family, live_again, live_beside
from tests.worlds.house import House
from tests.worlds.view import EPOCH, PARKED, View
from tests.worlds.virtual_loop import VirtualLoop

DATED = (*PARKED, RunState.SCHEDULED)


class World(View):
    """The worker of one run, and what the daemon does to it."""

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        input: bytes = b"{}",
        *,
        limits: Limits | None = None,
        pools: Pools | None = None,
        seed: int = 0,
        run_id: str = "0190b0a0-0000-7000-8000-000000000001",
        latency: tuple[float, ...] = (0.001,),
        page_length: int = 1_000_000,
        message_bytes: int = MESSAGE_BYTES,
        runs: dict[str, World] | None = None,
        children: Sequence[Workflow[Any, Any]] = (),
        run: Run | None = None,
    ) -> None:
        """`children` are the workflows, beside its own, that runs of its family are of; `run` is one that is there."""
        self.workflow = workflow
        self.limits = limits or Limits()
        self.pools = pools or Pools()
        self.random = random.Random(seed)
        self.run_id = run_id
        self.latency = latency
        self.page_length = page_length
        self.message_bytes = message_bytes
        self.runs = {} if runs is None else runs
        """All runs that can be sent to, by id."""
        self.left: list[tuple[bytes, list[Entry]]] = []
        """The inputs and journals of the generations that are over."""
        self.given_back: set[int] = set()
        """Those of them after which it has begun anew, with all that they had taken."""
        self.end: End | None = None
        self.ends: list[Move] = []
        self.units: list[Unit] = []
        self.lingered = 0
        self.execution: Execution | None = None
        self.lease = Lease(certain_until=math.inf)
        self.before_record: Callable[[Unit], Recorded | None] = lambda unit: None
        self.refuse_page: AikiError | None = None
        self.held: Execution | None = None
        """The claim whose worker has heard that its run is to be paused."""
        self.workflows = [workflow, *children]
        self.bear: Callable[[Run], World] = partial(live_beside, self)
        """What lives the run of a child that this one has started."""
        self.succeed: Callable[[Run], World] = partial(live_again, self)
        """What lives the run that goes on in the place of this one."""
        self.ended_at = self.told_at = self.closed_at = math.inf
        """When it has ended, when its parents had been told of that, and when its children had been."""
        self.cancelled_at = self.cancels_at = math.inf
        """When it took in that it is cancelled, and when its children had been told of that."""
        self.is_reopened = False
        self.log: dict[int, Arrival] = {}
        """All that its entries have ever taken."""
        self.heard: set[str] = set()
        """Starts of which it has heard that what they stand for has ended."""
        self.lives: list[asyncio.Task[End]] = []
        """Those of its children, which are lived beside it."""
        self.skew = 0
        """By how many microseconds the worker's clock is ahead of the database's."""
        self.slow_replies = False
        """Whether anything may come between what is written and the answer to that."""
        self.deafness = 0.0
        """How likely it is that a worker is not told of what has come: it hears of it by what it writes."""
        self.along: tuple[int, ...] = (0, 1, 2)
        """How much of what has come may come along with the word of it; some of it has been told before."""
        self.reads = 0
        """How often the inbox was read beside claims."""
        self.ends_read = 0
        """How often ends of children were read again, a page each time."""
        self.broken: AssertionError | None = None
        """What was written that breaks a rule."""
        self.refused_parks = 0
        self.timers: list[str] = []
        """What was said to each timer that was asked."""
        self._sends = 0
        self._pending: Unit | None = None
        self._bench: Bench | None = None
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.seconds = self._loop.clock if isinstance(self._loop, VirtualLoop) else self._loop.time
        self.started = self.now()
        others = iter(self.runs.values())
        self.house: House = next(others).house if self.runs else House(self.runs, self.clock, room=message_bytes)
        super().__init__(run or _new_run(self.house.store, run_id, workflow, input), self.house.store)
        self.runs[run_id] = self
        self._set_deadline()

    def _set_deadline(self) -> None:
        """Have its deadline tell it to end; nobody looks at it again."""
        timeout, self.run.deadline = self.run.options.timeout, None
        if timeout is not None:
            self._loop.call_later(timeout / 1_000_000, self.cancel, "timeout")

    @property
    def family(self) -> Family:
        return Family(self)

    @property
    def retried_by(self) -> World | None:
        new = self.run.retried_by
        return None if new is None else self.runs[new.id]

    @property
    def newest(self) -> World:
        """Return the run that goes on in the place of this one, or itself."""
        return self.runs[self.run.newest.id]

    @property
    def is_held(self) -> bool:
        """Tell whether a claim goes on whose worker has heard of a pause."""
        return self.held is not None and self.held is self.execution

    # -- Host

    def now(self) -> int:
        return self.clock() + self.skew

    def record(self, run: ClaimedRun, unit: Unit) -> None:
        assert run is self.execution, "an execution that was lost writes"
        assert self._pending is None, "two units in flight"
        self._pending = unit
        self._loop.call_later(self.random.choice(self.latency), self._commit, run, unit)

    def room(self) -> int:
        return self.message_bytes

    def fetch_page(self, run: ClaimedRun, request: Page) -> None:
        if request.tried_after is None:
            page = PageReply(self.run.life.told(request.after, self.page_length))
        else:
            tries = [row for row in self.run.life.last_tries() if row.key > request.tried_after]
            page = PageReply(attempts=tries[: self.page_length])
        answer = ("on_page", page) if self.refuse_page is None else ("on_page_refused", self.refuse_page)
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, *answer)

    def read_inbox(self, run: ClaimedRun, after: int) -> None:
        self.reads += 1
        self._loop.call_later(self.random.choice(self.latency), self._read_inbox, run, after)

    def read_ends(self, run: ClaimedRun, after: int) -> None:
        self.ends_read += 1
        reply = self.run.inbox.ends(after, self.generation, self.page_length)
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, "on_ends", reply)

    def lingering(self, run: ClaimedRun) -> None:
        self.lingered += 1
        self._changed.set()

    def wants_slot(self, run: ClaimedRun) -> None:
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, "on_slot")

    def ended(self, run: ClaimedRun) -> None:
        assert run is self.execution
        self.execution = None
        self._changed.set()

    # -- the daemon

    def clock(self) -> int:
        """Return the database's time."""
        return EPOCH + round(self._loop.time() * 1_000_000)

    def send(self, event: BoundEvent[Any], *, key: str | None = None, id: str | None = None) -> Outcome:
        """Send the run an event from outside."""
        self._sends += 1
        value, digest = Raw(event.encoded), event.digest if key else None
        sent = Sent(self.run_id, id or f"send-{self.run_id}-{self._sends}", event.event.name, value, key, digest)
        return self.house.do(lambda: sends.send_one(self.store, sent))

    def end_sleep(self) -> Obeyed:
        """Send the run a wake."""
        self._sends += 1
        order = Wake([self.run_id], id=f"wake-{self._sends}")
        (ordered,) = self.house.do(lambda: control.wake(self.store, order)).outcomes
        return Obeyed(ordered.result)

    def pause(self) -> Obeyed:
        """Hold the run: at once if it rests, else when its claim ends."""
        (ordered,) = self.house.do(lambda: control.pause(self.store, Pause([self.run_id]))).outcomes
        return Obeyed(ordered.result)

    def resume(self) -> Obeyed:
        """Let the run go on, or take back a pause that its worker has not carried out."""
        (ordered,) = self.house.do(lambda: control.resume(self.store, Resume([self.run_id]))).outcomes
        return Obeyed(ordered.result)

    def cancel(self, reason: Literal["requested", "timeout"] = "requested") -> None:
        """Have the run end, whatever it waits for; only the first time is there anything to tell."""
        self.house.do(lambda: self._cancel(reason))

    def _cancel(self, reason: Literal["requested", "timeout"]) -> None:
        run = self.run
        if reason == "timeout" and not run.is_over and controlling.ends_at_once(run.standing):
            _, after = controlling.cancel(run.standing, is_told=False)
            self.store.move(run, replace(after, state=RunState.FAILED), Move.TIME_OUT)
        else:
            cancels.cancel(self.store, run, CancelNote(reason))

    def moved(self) -> None:
        """Take note that the run goes on otherwise, or has ended without a word of its worker."""
        if self.state in TERMINAL:
            self.ended_at = min(self.ended_at, self.clock())
            if not any(target(move) in TERMINAL for move in self.ends):
                self.end = End(Move.TIME_OUT if self.state is RunState.FAILED else Move.CANCEL)
                self.ends.append(self.end.move)
        self._changed.set()

    def succeeded_by(self, run: Run) -> World:
        """Return the run that goes on in the place of this one."""
        new = self.succeed(run)
        new.left, new.given_back, new.log = list(self.left), set(self.given_back), dict(self.log)
        new.heard = {row.name for row in new.inbox.arrivals if row.kind == "child"}
        if run.generation > self.generation:
            new.left.append((self.input, self.journal))
            new.given_back.add(self.generation)
        return new

    def later(self, do: Callable[[], None], *, seconds: float = 0.0) -> None:
        """Do what a commit has made due, or makes due after so many seconds."""
        self._loop.call_later(seconds + self.random.choice(self.latency), self._carry_out, do)

    def _carry_out(self, do: Callable[[], None]) -> None:
        try:
            do()
        except AssertionError as error:
            self.broken = error  # no callback of a loop can fail a test
            self._changed.set()

    def renew(self) -> None:
        """Tell the worker of all that has come, as each renewal of its lease does."""
        if self.execution is not None and self.inbox.news:
            self.execution.on_news(self.inbox.news)

    def tell(self) -> None:
        """Tell the worker of what has come, if it is not deaf."""
        if self.execution is not None and self.random.random() >= self.deafness:
            arrivals = self.inbox.arrivals
            came = arrivals[max(0, len(arrivals) - self.random.choice(self.along)) :]
            self._loop.call_later(
                self.random.choice(self.latency), self._alive, self.execution, "on_news", self.inbox.news, came
            )
        self._changed.set()

    def _read_inbox(self, run: ClaimedRun, after: int) -> None:
        reply = self.run.inbox.page(after, self.page_length)
        reply.wanted = self.standing.wanted
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, "on_inbox", reply)

    def wake(self) -> None:
        """Queue the run if it waits for a time."""
        if self.state in (RunState.SLEEPING, RunState.RETRYING) or self.is_due():
            self.house.do(lambda: self.store.move(self.run, woken(self.standing), Move.DUE))

    def is_due(self) -> bool:
        """Tell whether the run waits for a date that has come."""
        due_at = self.standing.due_at
        return self.state in (RunState.WAITING, RunState.SCHEDULED) and due_at is not None and due_at <= self.clock()

    def reopen(self) -> None:
        """Queue the run whatever it has come to, which no daemon does: its journal is to be replayed whole."""
        self.is_reopened = True
        for seq, entry in enumerate(self.journal, 1):  # who goes on in its place has them now
            for number in self.log.keys() & set(entry.takes):
                self.run.inbox.rows[number] = self.log[number]
                self.run.inbox.taken[number] = (self.generation, seq)
        self.standing = replace(self.standing, state=RunState.QUEUED, due_at=None)

    def claim(self) -> Execution:
        """Claim the run and start it."""
        assert self.execution is None
        self.wake()
        self.standing = replace(self.standing, length=len(self.journal))
        claim = self.house.do(lambda: claimed(self))
        if self._bench is None or self._bench.lease is not self.lease:
            self._bench = Bench(self.lease, now=self.now, room=self.room, pools=self.pools)
        execution = self.execution = Execution(claim, self.workflow, self, bench=self._bench, limits=self.limits)
        execution.start()
        return execution

    def crash(self) -> None:
        """Kill the worker: what is not in the journal is lost; a unit on its way is committed or not.

        It goes on however often that happens: a person lets it.
        """
        execution, unit = self.execution, self._pending
        assert execution is not None
        self._pending = None
        if unit is not None and self.random.random() < 0.5:
            self.write(unit)
        elif unit is not None:
            self.later(lambda: writing.refuse(self, unit))
        execution.drop()
        self.house.do(lambda: sessions.lose(self.store, SESSION.format(self.run_id, self.epoch)))
        if self.state is RunState.BLOCKED:
            self.resume()

    async def claimable(self) -> None:
        """Wait until the run is queued, or its date has come, or it is over: who is paused has none."""
        while self.state is not RunState.QUEUED and self.state not in TERMINAL:
            due_at = self.standing.due_at if self.state in DATED else None
            if due_at is not None and due_at <= self.clock():
                return
            self._changed.clear()
            with suppress(TimeoutError):
                seconds = None if due_at is None else (due_at - self.clock()) / 1_000_000
                await asyncio.wait_for(self._changed.wait(), seconds)
            self._raise_broken()

    async def settle(self, *, until: Callable[[], bool] | None = None) -> None:
        """Wait until the claim is over, or `until` holds."""
        while self.execution is not None and not (until is not None and until()):
            self._changed.clear()
            await self._changed.wait()
            self._raise_broken()

    def _raise_broken(self) -> None:
        if self.broken is not None:
            raise self.broken

    async def finish(self, *, claims: int = 100) -> End:
        """Claim the run again and again until it is over or blocked; return its end."""
        for _ in range(claims):
            if self.execution is None:
                await self.claimable()
                if self.state not in TERMINAL:
                    self.claim()
            await self.settle()
            if self.state is not RunState.QUEUED and self.state not in PARKED:
                assert self.end is not None
                return self.end
        raise AssertionError(f"not over after {claims} claims: {self.state}")

    def _commit(self, execution: ClaimedRun, unit: Unit) -> None:
        if execution is not self.execution:
            return
        self._pending = None
        self._carry_out(lambda: self._answer(execution, self.before_record(unit) or self.write(unit)))

    def _answer(self, execution: ClaimedRun, answer: Recorded) -> None:
        if not self.slow_replies:
            execution.on_recorded(answer)
            self._changed.set()
        else:
            self._loop.call_later(self.random.choice(self.latency), self._alive, execution, "on_recorded", answer)

    def write(self, unit: Unit) -> Recorded:
        """Do what the daemon does with a unit."""
        return self.house.do(lambda: writing.write(self, unit))

    def _alive(self, execution: ClaimedRun, method: str, *args: Any) -> None:
        if execution is self.execution:
            getattr(execution, method)(*args)
            self._changed.set()
            if method == "on_inbox" and args[0].wanted is not None:
                self.held = self.execution


def _new_run(store: Store, run_id: str, workflow: Workflow[Any, Any], input: bytes) -> Run:
    new = NewRun(run_id, workflow.name, workflow.version, Raw(input))
    run = Run.new(new, Standing(RunState.QUEUED), created_at=store.created_at(), born_at=store.born_at())
    run.started_at = EPOCH
    store.add(run)
    return run
