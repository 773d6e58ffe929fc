"""Own one run's body: its private loop, and the deliveries that move it, live and on replay alike.

Outcomes reach the body one at a time, only when nothing in it can move. While recorded entries are unconsumed only
they are delivered, in recorded order, and new calls are held: nothing is started before the code has shown that it
asks for everything the journal holds. If it does not, it has diverged, and no side effect has happened.

A body that never comes to rest (`while not done: await asyncio.sleep(0)`) would shut itself off from outcomes, so
after SPIN handles one is let in; its entry says after how many (`turns`), and replay does the same.

This module does no I/O and reads no clock. Whoever owns it calls `pump`, starts what `take_started` returns and
hands in outcomes by `resolve`. What it has delivered goes to `on_entry`, whose owner makes it durable.
"""

from __future__ import annotations

import asyncio
import uuid
import zlib
from asyncio import _get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from enum import Enum, auto
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from aiki.core.errors import UsageError
from aiki.core.keys import PATCH, named
from aiki.execution.audit import watch
from aiki.execution.calls import Call, CallTable
from aiki.execution.divergence import explain
from aiki.execution.faults import Faults, of_context, tell_unseen
from aiki.execution.journal import Journal
from aiki.execution.loop import RunLoop, Stepping, Timer
from aiki.execution.unwinding import unwind, waiting_lines
from aiki.wire.messages import NULL, Entry

if TYPE_CHECKING:
    from aiki.definitions.task import Task

SPIN: Final = 1_000
"""Handles without rest before an outcome is let into a body that can still move."""
LIVELOCK: Final = 200_000
"""Handles without rest, on replay, beyond those that were recorded, after which the code has diverged."""
SLICE_SECONDS: Final = 0.01
"""How long one `pump` may keep the worker's loop, as long as the body itself does not block."""
SLICE_HANDLES: Final = 250


class Outcome(Enum):
    """How far the body has come."""

    RUNNING = auto()
    RETURNED = auto()
    RAISED = auto()
    DIVERGED = auto()
    LEFT = auto()
    """It was unwound before its end."""


class Body:
    """The body of one claimed run. Implements `aiki.run.Calls`."""

    __slots__ = (
        "_calls",
        "_context",
        "_held",
        "_inbox",
        "_journal",
        "_main",
        "_on_entry",
        "_patches",
        "_random",
        "_seed",
        "_since_rest",
        "_start",
        "_stepping",
        "_went_live",
        "abandoned",
        "diff",
        "error",
        "faults",
        "leaving",
        "loop",
        "outcome",
        "result",
    )

    def __init__(
        self,
        start: Callable[[], Any],
        *,
        journal: Journal,
        started_at: int,
        origin_id: str,
        on_entry: Callable[[Entry], None],
        on_fault: Callable[[str, str], None],
    ) -> None:
        """`start` returns the body's coroutine; `started_at` is the time of the run's first claim."""
        watch()
        self.loop: RunLoop = RunLoop(started_at, salt=_salt(origin_id), on_problem=self._on_problem)  # type: ignore[abstract]  # refused methods are added by name
        self._stepping = Stepping(self.loop)
        self.outcome = Outcome.RUNNING
        self.result: Any = None
        self.error: BaseException | None = None
        self.diff = ""
        self.faults = Faults(on_fault)
        """What it did wrong without failing by it."""
        self.leaving = 0
        """While the body is unwound: 1 + the durable calls that its `finally` blocks tried since."""
        self._start: Callable[[], Any] | None = start
        self._main: asyncio.Task[Any] | None = None
        self._context: Context = copy_context()
        self._journal = journal
        self._calls = CallTable()
        self._held: dict[str, Call] = {}
        self.abandoned: list[Call] = []
        """Started calls that nobody waits for any more, for `take_abandoned`."""
        self._inbox: deque[tuple[int, Call, bool, bytes]] = deque()
        self._patches: dict[str, bool] = {}
        self._since_rest = 0
        self._went_live = not journal.length
        self._on_entry = on_entry
        self._seed = origin_id
        self._random: Random | None = None

    # -- aiki.run.Calls: what the body asks for

    async def call(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Ask for a task and wait for its outcome."""
        if self.leaving or _get_running_loop() is not self.loop:
            await self._refuse(f"{task.name}.run()")
        call = self._calls.ask(task, args, kwargs, self.loop.now_us)
        future: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        if call.outcome is not None:
            call.settle(future, *call.outcome)
            return await future
        if not call.futures and call.key not in self._journal:
            call.keep_arguments(args, kwargs)
            self._held[call.key] = call
        call.futures.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if self._calls.leave(call, future) and self._held.pop(call.key, None) is None:
                self.abandoned.append(call)
            raise

    async def sleep(self, delay_us: int) -> None:
        """Wait on a durable timer."""
        if self.leaving or _get_running_loop() is not self.loop:
            await self._refuse("run.sleep()")
        await asyncio.sleep(delay_us / 1_000_000)

    async def sleep_until(self, when_us: int) -> None:
        """Wait on a durable timer for a date."""
        if self.leaving or _get_running_loop() is not self.loop:
            await self._refuse("run.sleep_until()")
        future: asyncio.Future[None] = asyncio.Future(loop=self.loop)
        timer = self.loop.call_until(when_us, _wake, future)
        try:
            await future
        finally:
            timer.cancel()

    def now(self) -> int:
        """Return the time of the last delivery."""
        return self.loop.now_us

    def random(self) -> float:
        """Return the next number of the run's generator."""
        self._require_inside("run.random()")
        return self._generator().random()

    def uuid(self) -> uuid.UUID:
        """Return the next UUIDv4 of the run's generator."""
        self._require_inside("run.uuid()")
        return uuid.UUID(int=self._generator().getrandbits(128), version=4)

    def patched(self, change_id: str) -> bool:
        """Tell whether this run takes the new side of a change; decided once, recorded if so."""
        self._require_inside("run.patched()")
        known = self._patches.get(change_id)
        if known is None:
            key = named(PATCH, change_id)
            if self._journal.take_patch(key):
                known = True
            elif self._journal.remaining:
                known = False
            else:
                known = True
                self._on_entry(Entry(key, True, NULL, self.loop.now_us))
            self._patches[change_id] = known
        return known

    def replaying(self) -> bool:
        """Tell whether nothing has been delivered yet that is not in the journal.

        An entry is recorded after the body has gone on from it, so what follows the last one happened before, too.
        """
        return not self._went_live

    # -- what the execution does

    def resolve(self, call: Call, ok: bool, value: bytes, at: int) -> None:
        """Take in the outcome of a started call; it is delivered by a later `pump`. `at` never goes back."""
        self._inbox.append((at, call, ok, value))

    def pump(self, now: int) -> bool:
        """Run the body until nothing in it can move. True means that its slice of time is over: call again.

        `now` decides which timers are due. Afterwards `outcome` says whether the body has ended.
        """
        deadline = perf_counter() + SLICE_SECONDS
        try:
            with self._stepping:
                if self._main is None:
                    assert self._start is not None
                    self._main = self.loop.create_task(self._start(), context=self._context)
                while self.outcome is Outcome.RUNNING:
                    self._since_rest += self.loop.run_ready(self._handles_allowed())
                    if self._main.done():
                        self._finish(self._main)
                    elif not self._move(now):
                        return bool(self.loop.ready)
                    elif perf_counter() > deadline:
                        return self.outcome is Outcome.RUNNING
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two out of the loop; here they are the body's failure, not the worker's end.
            self._end(Outcome.RAISED)
            self.error = error
            for task in self.loop.tasks:
                if task.done() and getattr(task, "_exception", None) is error:
                    task.exception()  # marks it as seen: the run's failure tells it
        return False

    def take_started(self) -> list[Call]:
        """Return the new calls that are free to start, in the order they were asked for.

        None starts before the body rests or has spun: it may yet give a call up, or end. Where `pump` ran out of time
        says nothing of the body, and another replay would stop elsewhere.
        """
        if not self._held or self._journal.remaining or self.outcome is not Outcome.RUNNING:
            return []
        if self.loop.ready and self._since_rest < SPIN:
            return []
        calls = list(self._held.values())
        self._held.clear()
        return calls

    def take_abandoned(self) -> list[Call]:
        """Return started calls that nobody waits for any more."""
        calls, self.abandoned = self.abandoned, []
        return calls

    def next_timer(self) -> Timer | None:
        """Return the timer that will be due first, unless replay decides what fires."""
        return None if self._journal.remaining else self.loop.next_timer()

    def is_deadlocked(self) -> bool:
        """Tell whether the body is at rest and nothing can ever move it."""
        return not (
            self._calls.open
            or self._inbox
            or self.loop.ready
            or self._journal.remaining
            or self.outcome is not Outcome.RUNNING
            or self.loop.next_timer() is not None
        )

    def waiting_lines(self) -> list[str]:
        """Return `file:line in function` of each place where the body waits."""
        return waiting_lines(self.loop)

    def leave(self) -> list[str]:
        """Unwind the body; return where it could not be unwound. Nothing durable happens any more."""
        if self.outcome is Outcome.RUNNING:
            self._end(Outcome.LEFT)
        if self.loop.dead:
            return []
        refused = unwind(self)
        # Cut the cycles, so that a run's memory is free at once and not when the garbage collector comes by.
        self._main = self._start = self.loop.workflow_run = None
        self.loop.tasks.clear()
        return refused

    # -- private: deliveries

    def _handles_allowed(self) -> int:
        since = self._since_rest
        if not self._journal.remaining and since <= SPIN - SLICE_HANDLES:
            return SLICE_HANDLES
        allowed = SPIN - since if since < SPIN else 50
        front = self._journal.front() if self._journal.remaining else None
        if front is not None and front.turns is not None:
            allowed = max(0, min(allowed, front.turns - since))
        return min(allowed, SLICE_HANDLES)

    def _move(self, now: int) -> bool:
        """Deliver one outcome if the body rests (or has spun long enough); tell whether to run it again."""
        if self._journal.remaining:
            return self._replay()
        if self.loop.ready and self._since_rest < SPIN:
            return True
        return self._deliver_live(now)

    def _replay(self) -> bool:
        front = self._journal.front()
        assert front is not None
        let_in = front.turns is not None and self._since_rest >= front.turns
        if self._since_rest > LIVELOCK + (front.turns or 0):
            self._diverge("the body goes round without waiting for what is recorded")
        elif (self.loop.ready and not let_in) or self._deliver_recorded():
            return True
        elif self.loop.ready:  # the code has changed: the recorded number of turns fits no longer
            self._since_rest += self.loop.run_ready(50)
        elif not self._journal.drop_patches():
            self._diverge("the body waits, and not for what is recorded")
        return True

    def _deliver_recorded(self) -> bool:
        """Deliver the first unconsumed entry that the code has asked for; an abandoned one is consumed silently."""
        calls = self._calls
        for index, entry in self._journal.unconsumed():
            if entry.turns is not None and self.loop.ready and self._since_rest < entry.turns:
                return False
            key = entry.key
            call = calls.open.get(key)
            if call is not None:
                self._consume(index, entry)
                calls.close(call, entry.ok, entry.value)
            elif key in calls.gone:
                self._consume(index, entry)
            elif (timer := self.loop.pending_timer(key)) is not None:
                self._consume(index, entry)
                self.loop.fire(timer)
            else:
                continue
            return True
        return False

    def _consume(self, index: int, entry: Entry) -> None:
        self._journal.consume(index)
        self._since_rest = self.loop.repeats = 0
        self.loop.now_us = max(self.loop.now_us, entry.at)

    def _deliver_live(self, now: int) -> bool:
        """Deliver what was ready first: the oldest outcome or the timer due first; an outcome wins a tie."""
        turns = self._since_rest if self.loop.ready else None
        inbox, timer = self._inbox, self.loop.next_timer()
        while inbox and (timer is None or inbox[0][0] <= timer.when_us):
            at, call, ok, value = inbox.popleft()
            if self._calls.open.get(call.key) is call:
                self._record(Entry(call.key, ok, Raw(value), max(at, self.loop.now_us), turns))
                self._calls.close(call, ok, value)
                return True
        if timer is not None and timer.when_us <= now:
            self._record(Entry(timer.key, True, NULL, max(timer.when_us, self.loop.now_us), turns))
            self.loop.fire(timer)
            return True
        return False

    def _record(self, entry: Entry) -> None:
        self._went_live = True
        self._since_rest = self.loop.repeats = 0
        self.loop.now_us = entry.at
        self._on_entry(entry)

    # -- private: ends

    def _on_problem(self, context: dict[str, Any]) -> None:
        if not self.leaving:  # then nobody is to await anything any more
            self.faults.add(*of_context(context), silent=self.replaying())

    def _finish(self, main: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError("the body cancelled itself") if main.cancelled() else main.exception()
        if self._journal.remaining and not self._journal.drop_patches():
            self._diverge(f"the body ended with {self._journal.remaining} recorded outcomes left")
            return
        self._went_live = True  # a run ends once: what it comes to was not told before
        tell_unseen(self.loop)
        if error is not None:
            self._end(Outcome.RAISED)
            self.error = error
        else:
            self._end(Outcome.RETURNED)
            self.result = main.result()

    def _diverge(self, what: str) -> None:
        self.diff = explain(what, self._journal, self._calls.open.values(), self.waiting_lines())
        self._end(Outcome.DIVERGED)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.leaving = 1

    def _require_inside(self, what: str) -> None:
        """Raise UsageError in another run's body, in a task, in a thread and after the run."""
        if _get_running_loop() is not self.loop:
            raise UsageError(
                f"{what} was called outside of the body of its workflow",
                hint="call it in the workflow's own function, or in an `async def` that this awaits, and hand on what"
                " it returns",
            )

    def _refuse(self, what: str) -> Awaitable[None]:
        """Keep others than the body, and a body that is being unwound, from doing anything durable.

        To the latter GeneratorExit first, since `finally` blocks then end; to one that goes on asking, a future that
        never comes: close() then fails, and the unwinding reports the line.
        """
        self._require_inside(what)
        self.leaving += 1
        if self.leaving > 5:
            return asyncio.Future(loop=self.loop)
        raise GeneratorExit

    def _generator(self) -> Random:
        if self._random is None:
            self._random = Random(self._seed)  # noqa: S311 - it must repeat
        return self._random


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _salt(origin_id: str) -> int:
    """Return where the run's task hashes begin: the same in every process, different between runs."""
    return zlib.crc32(origin_id.encode()) << 20
