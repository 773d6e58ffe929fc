"""Own a worker and a daemon in memory, with a clock of their own, for tests of the execution core.

`World` keeps one run's journal and inbox and decides by `aiki.rules`, as the daemon does; `World.crash` loses what is
not in the journal. Runs that send to one another are worlds with one dict of `runs`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import msgspec
from msgspec import Raw

from aiki.core.errors import AikiError
from aiki.core.states import TERMINAL, Move
from aiki.core.states import State as RunState
from aiki.definitions.workflow import Workflow
from aiki.execution import Bench, ClaimedRun, Execution, Lease, Limits, Pools
from aiki.inside.event import BoundEvent
from aiki.rules import arriving, controlling, crashing
from aiki.rules.claiming import claimed
from aiki.rules.controlling import Obeyed
from aiki.rules.standing import Standing, resumed, woken
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    Attempt,
    CancelNote,
    End,
    Entry,
    Outcome,
    Page,
    PageReply,
    Recorded,
    SendOp,
    Sent,
    StartOp,
    Unit,
)
from aiki.wire.messages.options import NO_OPTIONS
from tests.worlds import writing
from tests.worlds.claims import claim_of, last_tries
from tests.worlds.families import Family
from tests.worlds.inbox import WorldInbox
from tests.worlds.virtual_loop import VirtualLoop

EPOCH = 1_700_000_000_000_000
PARKED = (RunState.WAITING, RunState.SLEEPING, RunState.RETRYING)
DATED = (*PARKED, RunState.SCHEDULED)


class World:
    """The daemon and the worker of one run."""

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
    ) -> None:
        """`children` are the workflows, beside its own, that runs of its family are of."""
        self.workflow = workflow
        self.input = input
        self.limits = limits or Limits()
        self.pools = pools or Pools()
        self.random = random.Random(seed)
        self.run_id = run_id
        self.latency = latency
        self.page_length = page_length
        self.message_bytes = message_bytes
        self.standing = Standing(RunState.QUEUED)
        self.journal: list[Entry] = []
        self.left: list[tuple[bytes, list[Entry]]] = []
        """The inputs and journals of the generations that are over."""
        self.given_back: set[int] = set()
        """Those of them after which it has begun anew, with all that they had taken."""
        self.attempts: list[Attempt] = []
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
        self.inbox = WorldInbox(self.clock)
        self.runs = {} if runs is None else runs
        """All runs that can be sent to, by id."""
        self.runs[run_id] = self
        self.workflows = [workflow, *children]
        self.family = Family(self)
        self.bear: Callable[[StartOp], World] = self.family.live_beside
        """What makes the run of a child that this one starts."""
        self.succeed: Callable[[], World] = self.family.live_again
        """What makes the run that goes on in the place of this one."""
        self.origin_id = run_id
        self.retried_by: World | None = None
        self.options = NO_OPTIONS
        self.digest: str | None = None
        self.priority = 0
        self.labels: dict[str, str] = {}
        self.ended_at = self.told_at = self.closed_at = math.inf
        """When it has ended, when its parents had been told of that, and when its children had been."""
        self.attempt = 1
        self.began: int | None = EPOCH
        """When its generation was claimed first."""
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
            page = PageReply(self.journal[request.after : request.after + self.page_length])
        else:
            tries = sorted(last_tries(self.attempts), key=lambda row: row.key)
            page = PageReply(attempts=[row for row in tries if row.key > request.tried_after][: self.page_length])
        answer = ("on_page", page) if self.refuse_page is None else ("on_page_refused", self.refuse_page)
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, *answer)

    def read_inbox(self, run: ClaimedRun, after: int) -> None:
        self.reads += 1
        self._loop.call_later(self.random.choice(self.latency), self._read_inbox, run, after)

    def read_ends(self, run: ClaimedRun, after: int) -> None:
        self.ends_read += 1
        reply = self.inbox.ends(after, self.page_length)
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
        sent = Sent(self.run_id, id or f"send-{self._sends}", event.event.name, value, key, digest)
        return self.receive(sent)

    def end_sleep(self) -> Obeyed:
        """Send the run a wake."""
        obeyed, after = controlling.wake(self.standing)
        if after.news > self.standing.news:
            self.inbox.add("wake")
        self.standing = after
        self.tell()
        return obeyed

    def pause(self) -> Obeyed:
        """Hold the run: at once if it rests, else when its claim ends."""
        obeyed, after = controlling.pause(self.standing)
        if after.news > self.standing.news:
            self.inbox.next_number()
        self.standing = after
        self.tell()
        return obeyed

    def resume(self) -> Obeyed:
        """Let the run go on, or take back a pause that its worker has not carried out."""
        obeyed, self.standing = controlling.resume(self.standing, now=self.clock())
        self._changed.set()
        return obeyed

    def receive(self, event: Sent | SendOp) -> Outcome:
        """Take in an event, wake the run if it waits for it, and tell its worker; the newest retry hears of it."""
        if self.retried_by is not None:
            return self.retried_by.receive(event)
        outcome = self.inbox.send(self.standing, event)
        if outcome == arriving.TAKEN:
            self.reach([arriving.word("event", event.name)])
        return outcome

    def cancel(self, reason: Literal["requested", "timeout"] = "requested") -> None:
        """Have the run end, whatever it waits for; only the first time is there anything to tell."""
        obeyed, after = controlling.cancel(self.standing, is_told=self.is_told)
        if obeyed is Obeyed.DONE and self.state not in TERMINAL:
            self._end_at_once(after, reason)
        elif after.news > self.standing.news:
            self.inbox.add("cancel", value=Raw(msgspec.json.encode(CancelNote(reason))))
            self.reach([arriving.CANCEL])

    @property
    def is_told(self) -> bool:
        """Tell whether it has heard that it is to end."""
        return any(arrival.kind == "cancel" for arrival in self.inbox.arrivals)

    def _end_at_once(self, after: Standing, reason: str) -> None:
        late = reason == "timeout"
        self.end = End(Move.TIME_OUT if late else Move.CANCEL)
        self.ends.append(self.end.move)
        self.standing = replace(after, state=RunState.FAILED) if late else after
        self.family.ended()
        self._changed.set()

    def reach(self, words: Sequence[str]) -> None:
        """Let what has been put into its inbox move the run, and tell its worker."""
        self.standing = arriving.reached(self.standing, words)
        self.tell()

    def later(self, do: Callable[[], None]) -> None:
        """Do what a commit has made due."""
        self._loop.call_later(self.random.choice(self.latency), self._carry_out, do)

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
            came = self.inbox.arrivals[max(0, len(self.inbox.arrivals) - self.random.choice(self.along)) :]
            self._loop.call_later(
                self.random.choice(self.latency), self._alive, self.execution, "on_news", self.inbox.news, came
            )
        self._changed.set()

    def _read_inbox(self, run: ClaimedRun, after: int) -> None:
        reply = self.inbox.page(after, self.page_length)
        reply.wanted = self.standing.wanted
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, "on_inbox", reply)

    @property
    def is_parked(self) -> bool:
        """Tell whether it rests until something comes."""
        return self.state in PARKED

    @property
    def is_held(self) -> bool:
        """Tell whether a claim goes on whose worker has heard of a pause."""
        return self.held is not None and self.held is self.execution

    @property
    def state(self) -> RunState:
        return self.standing.state

    @property
    def epoch(self) -> int:
        return self.standing.epoch

    @property
    def newest(self) -> World:
        """Return the run that goes on in the place of this one, or itself."""
        return self if self.retried_by is None else self.retried_by.newest

    @property
    def generation(self) -> int:
        return self.standing.generation

    def wake(self) -> None:
        """Queue the run if it waits for a time."""
        if self.state in (RunState.SLEEPING, RunState.RETRYING) or self.is_due():
            self.standing = woken(self.standing)

    def is_due(self) -> bool:
        """Tell whether the run waits for a date that has come."""
        due_at = self.standing.due_at
        return self.state in (RunState.WAITING, RunState.SCHEDULED) and due_at is not None and due_at <= self.clock()

    def reopen(self) -> None:
        """Queue the run whatever it has come to, which no daemon does: its journal is to be replayed whole."""
        self.standing = replace(self.standing, state=RunState.QUEUED, due_at=None)

    def claim(self) -> Execution:
        """Claim the run and start it."""
        assert self.execution is None
        self.wake()
        self.standing = claimed(replace(self.standing, length=len(self.journal)), f"claim-{self.epoch + 1}")
        self.began = self.began or self.clock()
        claim = claim_of(self, began_at=self.began, first_at=EPOCH)
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
        if self.state is RunState.RUNNING:
            _, lost = crashing.lose(self.standing, is_left=False, now=self.now())
            self.standing = resumed(lost) if lost.state is RunState.BLOCKED else lost

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
        return writing.write(self, unit)

    def _alive(self, execution: ClaimedRun, method: str, *args: Any) -> None:
        if execution is self.execution:
            getattr(execution, method)(*args)
            self._changed.set()
            if method == "on_inbox" and args[0].wanted is not None:
                self.held = self.execution
