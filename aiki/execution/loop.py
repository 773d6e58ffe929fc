"""Own the private event loop of one run: a small deterministic asyncio loop without I/O or threads.

It never waits and never reads a clock. Whoever steps it (`body`) decides what time it is and which timer fires,
so "nothing in this run can move" is exactly "its ready queue is empty", and the same deliveries give the same steps
in every process. Everything that asyncio offers on top of futures, tasks and timers works inside it unchanged.

Time is whole microseconds inside, because a journal entry's `at` is; `time()` shows seconds, as asyncio wants.

A clock in floats may fall short of the date that a timer was made for, by less than its microsecond. Whoever looks
again when it goes off, as anyio's scopes do, would then set it anew for no time at all, for ever. So `time()` is never
before the date of a timer that went off. `asyncio.sleep(inf)` is a timer like others, of the last date there is: a run
that waits for nothing else sleeps until somebody ends it, and is no deadlock.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from asyncio import Task as AsyncioTask
from asyncio import _get_running_loop
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from types import CodeType, FrameType
from typing import Any, Final, TypeVarTuple, Unpack

from aiki.core import keys
from aiki.core.errors import UsageError
from aiki.core.moments import SECOND
from aiki.execution.order import ENSURE_FUTURE, RunFuture, coroutines_in_order
from aiki.execution.repeats import REPEATS, is_repeat
from aiki.execution.stepping import Stepping
from aiki.execution.timers import LAST_DATE, Timer, Timers

Ts = TypeVarTuple("Ts")
_CREATE_TASK: Final = asyncio.create_task.__code__
"""By whom most branches are made whose failure nobody need see: gather and groups look at theirs."""
_LONGEST_SECONDS: Final = 1e12
"""Enough to reach the last date from any other."""

REFUSED: Final = """
    run_in_executor getaddrinfo getnameinfo create_connection create_server sendfile start_tls
    create_unix_connection create_unix_server create_datagram_endpoint connect_read_pipe connect_write_pipe
    subprocess_shell subprocess_exec add_reader remove_reader add_writer remove_writer sock_recv sock_recv_into
    sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_sendfile sock_connect sock_accept
    add_signal_handler remove_signal_handler run_until_complete run_forever stop close connect_accepted_socket
    set_default_executor shutdown_default_executor set_task_factory
"""
"""What a workflow body may not ask its loop for: I/O, threads, processes, and control of the loop itself."""


class Handle(asyncio.Handle):
    """A callback of the body. It is made without the look at the loop's debug mode, which a run's loop has not."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: Any, loop: RunLoop, context: Context | None = None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class RunTask(AsyncioTask[Any]):
    """An asyncio task of the body. Its hash is its number in the run, so sets of tasks iterate alike on replay."""

    made_at: tuple[CodeType, int] | None = None
    """Whose code has made it, and by which of its instructions: from there its line can be told."""

    def __init__(self, coro: Any, number: int, **options: Any) -> None:
        self._number = number  # first of all: Task.__init__ puts the task into a WeakSet
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Add a callback, as asyncio does; refuse one that would stop a thread.

        `anyio.to_thread` ties a new worker thread to a task in this way, before it hands it any work.
        """
        thread = getattr(fn, "__self__", None)
        if isinstance(thread, threading.Thread):
            fn(self)
            raise refusal("anyio.to_thread")
        super().add_done_callback(fn, context=context)


def refusal(what: str) -> UsageError:
    """Return the error for I/O or threads in a workflow body."""
    return UsageError(
        f"{what} cannot be used in a workflow body: it would not be replayed",
        hint="move it into a task and call `await that_task.run(run, ...)`",
    )


class RunLoop(asyncio.AbstractEventLoop):
    """The loop of one run. `workflow_run` is what `current_body()` finds."""

    def __init__(self, now_us: int, *, salt: int, on_problem: Callable[[dict[str, Any]], None]) -> None:
        self.now_us = now_us
        self.delivered = 0
        """How many entries the body has been given."""
        self.dead = False
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[AsyncioTask[Any]] = []
        self.workflow_run: object = None
        self._prune_tasks_at = 16
        self.repeats = 0
        """How often repeats were taken up since the last delivery, which sets it to 0."""
        self._repeats_made: list[asyncio.Handle] = []
        self._repeats_held: list[asyncio.Handle] = []
        self._number = salt
        self._reached = 0.0
        self._made_ahead: dict[Any, AsyncioTask[Any]] = {}
        self._on_problem = on_problem
        self.stepping = Stepping(self)
        """What makes it the running loop, as a context."""
        self.timers = Timers()

    # -- stepped by the body's owner

    def run_ready(self, limit: int) -> int:
        """Run up to `limit` handles and return how many. The caller has made this the running loop.

        Raises SystemExit and KeyboardInterrupt of user code.
        """
        ready, made, held = self.ready, self._repeats_made, self._repeats_held
        count = 0
        handle: asyncio.Handle | None = None
        while ready and count < limit:
            handle = ready.popleft()
            count += 1
            if not handle._cancelled:  # noqa: SLF001 - BaseEventLoop does the same with its handles
                handle._run()  # noqa: SLF001
            if made or held:
                self._keep_back(handle)
        # From Python 3.12 on an error's traceback keeps this frame, and with it what the last handle holds: a gather
        # whose error nobody has seen would be told of when the garbage collector comes by, not when it is dropped.
        del handle
        return count

    def fire(self, timer: Timer) -> None:
        """Let a pending timer go off: its callback becomes ready."""
        self.timers.take(timer)
        if timer.when_us <= self.now_us:  # else it was ended early
            self._reached = max(self._reached, timer.reaches)
        self.ready.append(timer)

    def kill(self) -> None:
        """Make the loop inert for ever."""
        self.dead = True
        self._on_problem = _ignore
        self.ready.clear()
        self._repeats_held.clear()
        self._made_ahead.clear()
        self.timers.clear()

    # -- what asyncio asks of a loop

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run `callback` when what is ready before it has run."""
        handle = Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def repeat_later(self, handle: asyncio.Handle) -> None:
        """Take note that `handle`, which was made ready last, only repeats a cancellation."""
        self._repeats_made.append(handle)

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Do as `call_soon`. Raises UsageError in any other thread or loop."""
        if _get_running_loop() is not self:
            raise refusal("a thread")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` after `delay` seconds of the run's time: a durable timer. Raises UsageError on nan."""
        return self._call_after(delay, callback, args, context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` when `time()` has come to `when`: a durable timer. Raises UsageError on nan."""
        # A date in seconds is off by up to 0.12 µs as a float, so rounding gives back the delay that was meant.
        timer = self._call_after(when - self.time(), callback, args, context)
        if timer.when_us < LAST_DATE:
            timer.reaches = when
        if timer.fired:
            self._reached = max(self._reached, when)
        return timer

    def call_until(self, when_us: int, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call back at a date rather than after a delay; the key is the date's."""
        return self._add_timer(when_us, keys.until(when_us), callback, args, None)

    def add_timeout(self, key: str, delay_us: int) -> Timer:
        """Return the timer that ends the wait of the call with this key; on replay the call itself is found."""
        timer = self._timer(min(self.now_us + delay_us, LAST_DATE), key, _never, (), None)
        timer.is_timeout = True
        self.timers.push(timer)
        return timer

    def time(self) -> float:
        """Return the time of the last delivery, in seconds since the epoch."""
        return max(self.now_us / SECOND, self._reached)

    get_debug = bool  # returns False, in C: each future and each task asks for it

    def set_debug(self, enabled: bool) -> None:
        """Do nothing: debug mode would read clocks."""

    def is_running(self) -> bool:
        """Tell whether the run is in memory."""
        return not self.dead

    def is_closed(self) -> bool:
        """Tell whether the run has left memory."""
        return self.dead

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return RunFuture(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None, **options: Any) -> Any:
        """Start `coro` as a task of the run. Raises UsageError when the run has left memory, or the order is lost."""
        if self.dead:
            coro.close()
            raise UsageError("the run has left memory")
        caller = sys._getframe(1)  # noqa: SLF001 - documented, and the only way to see on whose behalf
        code = caller.f_code
        if code is ENSURE_FUTURE and (listed := self._listed(coro, caller)) is not None:
            return listed
        task = self.add_task(coro, name=name, context=context, **options)
        if code is _CREATE_TASK and (maker := caller.f_back) is not None:
            task.made_at = maker.f_code, maker.f_lasti
        return task

    def add_task(self, coro: Any, **options: Any) -> RunTask:
        """Start `coro` as a task of the run, whoever asks for it."""
        self._number += 1
        task = RunTask(coro, self._number, loop=self, **options)
        self.tasks.append(task)
        if len(self.tasks) > self._prune_tasks_at:
            self.tasks = [task for task in self.tasks if not task.done()]
            self._prune_tasks_at = max(16, 2 * len(self.tasks))
        return task

    def close_generator(self, generator: Any) -> None:
        """Close an async generator of the body that was dropped.

        All of them end with the run: unwinding closes the coroutines that iterate them, and no loop outlives them.
        """
        if not self.dead:
            self.call_soon(self.create_task, generator.aclose())

    def next_number(self) -> int:
        """Return the next number of this run, for what is to hash by it."""
        self._number += 1
        return self._number

    def get_task_factory(self) -> None:
        """Return None: a factory's tasks would hash by their addresses."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell the owner about an exception that nobody awaits."""
        if not self.dead:
            self._on_problem(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Do the same."""
        self.call_exception_handler(context)

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: the body's generators are closed by unwinding."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.count_cancelled()

    # -- private

    def _keep_back(self, ran: asyncio.Handle) -> None:
        """Keep back the repeat that a repeat has made, until a handle of another kind has run."""
        made, held = self._repeats_made, self._repeats_held
        if is_repeat(ran):
            if made and self.ready and self.ready[-1] is made[-1]:
                held.append(self.ready.pop())
        elif self.repeats < REPEATS and held:
            self.repeats += 1
            self.ready.extend(held)
            held.clear()
        made.clear()

    def _listed(self, coro: Any, caller: FrameType) -> AsyncioTask[Any] | None:
        """Return the task of a coroutine in a list for `as_completed`, whose tasks start in the order of the list."""
        if coro not in self._made_ahead:
            try:
                coroutines = coroutines_in_order(caller)
            except UsageError:
                coro.close()
                raise
            if coroutines is None:
                return None
            for one in dict.fromkeys(coroutines):
                self._made_ahead[one] = self.create_task(one)
        return self._made_ahead.pop(coro)

    def _call_after(self, delay: float, callback: Callable[..., object], args: Any, context: Context | None) -> Timer:
        if not abs(delay) < _LONGEST_SECONDS:
            if delay != delay:
                raise UsageError("a timer of nan seconds: it is no number", hint='await run.sleep("10m")')
            delay = math.copysign(_LONGEST_SECONDS, delay)
        delay_us = round(delay * SECOND)
        key = keys.timer(delay_us)
        return self._add_timer(self.now_us + delay_us, key, callback, args, context)

    def _add_timer(
        self, when_us: int, key: str, callback: Callable[..., object], args: Any, context: Context | None
    ) -> Timer:
        when_us = min(when_us, LAST_DATE)
        timer = self._timer(when_us, key, callback, args, context)
        if when_us <= self.now_us:
            timer.fired = True
            self.ready.append(timer)
            return timer
        self.timers.add(timer)
        return timer

    def _timer(
        self, when_us: int, key: str, callback: Callable[..., object], args: Any, context: Context | None
    ) -> Timer:
        return Timer(when_us, key, callback, args, self, context, made_us=self.now_us, asked=self.delivered)


def _ignore(context: dict[str, Any]) -> None:
    """Tell nobody: the run has left memory."""


def _never() -> None:
    """Do nothing: the call is answered."""


def _refuse(name: str) -> Callable[..., Any]:
    def refused(self: RunLoop, *args: Any, **kwargs: Any) -> Any:
        raise refusal(f"asyncio's {name}()")

    return refused


for _name in REFUSED.split():
    setattr(RunLoop, _name, _refuse(_name))
