"""Own one try of a task: on the worker's loop, in a thread, or in a process, with its timeout.

A try ends once, and tells whoever asked for it. A try that was cancelled does not report. SystemExit and
KeyboardInterrupt from user code are failures like any other.

Each try can be recalled until its body begins: whether it has is decided once, so that a body which was said not to
have begun never does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from aiki.execution.lease import Lease, NotStarted
from aiki.execution.tasks.hands import Hand, steps
from aiki.execution.tasks.processes import ProcessJob
from aiki.inside.task_run import TaskRun, enter_task

if TYPE_CHECKING:
    from contextvars import Context

    from aiki.execution.kind import TaskCall
    from aiki.execution.tasks.bench import Bench
    from aiki.execution.tasks.threads import Threads

Work: TypeAlias = Callable[[Callable[[], None]], bytes]
"""What a thread does for a try: it gets a function to call once it has all that the body needs."""
CANCEL_GRACE_SECONDS: Final = 5.0
"""How long a coroutine that timed out may go on cleaning up before it is given up."""


class TaskTimeout(TimeoutError):
    """A try of a task took longer than its timeout."""


class Asker(Protocol):
    """Who has asked for a try, and is told of it on the worker's loop."""

    @property
    def call(self) -> TaskCall:
        """What is to be tried."""
        ...

    @property
    def gives_leave(self) -> bool:
        """Whether a plain function begins only after leave. A coroutine has all that it needs, and needs none."""
        ...

    def on_ready(self, permit: threading.Event) -> None:
        """Take in that the try has all that its body needs, and begins once `permit` is set."""
        ...

    def on_end(self, result: bytes | BaseException) -> None:
        """Take in how it ended: the encoded result, or the exception."""
        ...


class AsyncTry:
    """A coroutine on the worker's loop. It begins in the loop's next turn, in a context of its own."""

    __slots__ = ("_asker", "_begun", "_bench", "_expired", "_hand", "_run", "_timer", "ended", "name")

    def __init__(self, asker: Asker, run: TaskRun, bench: Bench, *, timeout: float | None) -> None:
        self._asker = asker
        self.name = asker.call.ask.task.name
        """Of tries of one task it is expected that all wait, or none."""
        self._run = run
        self._bench = bench
        self._hand: Hand | None = None
        """The task that it runs in, while it does."""
        self._begun = False
        self.ended = False
        """Whether it has reported, or never will."""
        self._expired: float | None = None
        self._timer = None if timeout is None else bench.loop.call_later(timeout, self._expire, timeout)
        bench.hands.give(self)

    def cancel(self) -> None:
        """Cancel the coroutine and never report."""
        self.ended = True
        self._stop_timer()
        if self._hand is not None:
            self._hand.cancel()

    def recall(self) -> bool:
        """Cancel it if its body has not begun, and tell whether that is so."""
        if self._begun:
            return False
        self.cancel()
        return True

    def begin(self, hand: Hand) -> Awaitable[None] | None:
        """Take the first step in `hand`; return the rest, which keeps `hand`, or None if that was all."""
        if self.ended:
            return None
        self._hand = hand
        # Named by its key: that tells more than a number.
        hand.set_name(self._asker.call.key)
        context, work = self._bench.context.copy(), self._work()
        try:
            waits_for = context.run(work.send, None)
        except StopIteration as over:
            result: bytes | BaseException = over.value
        else:
            return self._go_on(context, work, waits_for)
        # Not in the handler: the run goes on in here, and what its body raises would come of StopIteration.
        self._end(result)
        return None

    async def _go_on(self, context: Context, work: Coroutine[Any, Any, bytes | BaseException], waits_for: Any) -> None:
        self._end(await steps(context, work, waits_for))

    async def _work(self) -> bytes | BaseException:
        try:
            enter_task(self._run)
            call = self._asker.call
            task = call.ask.task
            args, kwargs = call.ask.arguments()
            body = self._bench.lease.begin(task.fn, args, kwargs)
            self._begun = True
            return task.result.encode(await body)
        except BaseException as error:  # noqa: BLE001 - the boundary of user code
            if self._expired is not None and isinstance(error, asyncio.CancelledError):
                return _timeout_error(self._expired)
            return error

    def _end(self, result: bytes | BaseException) -> None:
        self._hand = None
        if self._timer is not None:
            self._stop_timer()
        if not self.ended:
            self.ended = True
            self._asker.on_end(result)

    def _expire(self, timeout: float) -> None:
        self._expired = timeout
        if self._hand is None:
            self._end(_timeout_error(timeout))
            return
        self._timer = self._bench.loop.call_later(CANCEL_GRACE_SECONDS, self._end, _timeout_error(timeout))
        self._hand.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ThreadTry:
    """A plain function in a thread, or a process that a thread waits for."""

    __slots__ = (
        *("_asker", "_context", "_job", "_kill", "_loop", "_permit", "_start", "_threads", "_timeout", "_timer"),
        *("_work", "ended"),
    )

    def __init__(
        self,
        asker: Asker,
        work: Work,
        bench: Bench,
        *,
        timeout: float | None,
        threads: Threads,
        kill: Callable[[], None] | None = None,
    ) -> None:
        """`work` runs in one of `threads`; `kill` ends it if anything can. The timeout counts from its begin."""
        self._asker = asker
        self._work = work
        self._kill = kill
        self._permit = threading.Event() if asker.gives_leave else None
        self._start = threading.Lock()
        """Who locks it, once and for ever, has decided: the thread that the body begins, others that it never does."""
        self.ended = False
        """Whether it has reported, or never will."""
        self._loop = bench.loop
        self._context = bench.context.copy()
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        self._threads = threads
        self._job = threads.submit(self._run_in_thread)

    def cancel(self) -> None:
        """Give the thread up, or kill its process, and never report."""
        self.ended = True
        self._start.acquire(blocking=False)
        if self._permit is not None:
            self._permit.set()
        self._stop()

    def recall(self) -> bool:
        """Cancel it if its body has not begun, and tell whether that is so."""
        if not self._start.acquire(blocking=False):
            return False
        self.cancel()
        return True

    def _run_in_thread(self) -> None:
        result: bytes | BaseException
        try:
            result = self._context.run(self._work, self._ready)
        except BaseException as error:  # noqa: BLE001 - the boundary of user code
            result = error
        self._tell_loop(self._end, result)

    def _ready(self) -> None:
        """Return when the body may begin. Raises NotStarted if the try was recalled."""
        if self._permit is not None:
            self._tell_loop(self._tell_ready, self._permit)
            self._permit.wait()
        if not self._start.acquire(blocking=False):
            raise NotStarted
        if self._timeout is not None:
            self._tell_loop(self._start_timer, self._timeout)

    def _tell_loop(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise  # else the worker has ended, and nobody is left to tell

    def _tell_ready(self, permit: threading.Event) -> None:
        if not self.ended:
            self._asker.on_ready(permit)

    def _start_timer(self, timeout: float) -> None:
        if not self.ended:
            self._timer = self._loop.call_later(timeout, self._expire, timeout)

    def _expire(self, timeout: float) -> None:
        self._stop()
        self._end(_timeout_error(timeout))

    def _end(self, result: bytes | BaseException) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended:
            self.ended = True
            self._asker.on_end(result)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._kill is not None:
            self._kill()  # its thread then ends by itself
        else:
            self._threads.abandon(self._job)


Try: TypeAlias = AsyncTry | ThreadTry


def start_try(asker: Asker, run: TaskRun, bench: Bench, *, origin_id: str, timeout: float | None) -> Try:
    """Start one try of the call's task where the task wants to run. `timeout` is in seconds.

    If the lease is not certain when the body would begin, the try ends with NotStarted. Raises UsageError if a process
    task cannot be found by another process, PayloadError if its arguments do not fit.
    """
    call = asker.call
    task = call.ask.task
    if task.is_async:
        return AsyncTry(asker, run, bench, timeout=timeout)
    if task.executor == "process":
        processes = bench.pools.processes
        job = ProcessJob(processes, task, call.ask.encoded_arguments(), (run, origin_id), bench.lease)
        return ThreadTry(asker, job.run, bench, timeout=timeout, threads=processes.threads, kill=job.kill)
    work = partial(_work_in_thread, call, run, bench.lease)
    return ThreadTry(asker, work, bench, timeout=timeout, threads=bench.pools.threads)


def _work_in_thread(call: TaskCall, run: TaskRun, lease: Lease, ready: Callable[[], None]) -> bytes:
    enter_task(run)
    args, kwargs = call.ask.arguments()
    ready()
    return call.ask.task.result.encode(lease.begin(call.ask.task.fn, args, kwargs))


def _timeout_error(timeout: float) -> TaskTimeout:
    return TaskTimeout(f"no result within {timeout:g} s")
