"""Own one try of a task: on the worker's loop, in a thread, or in a process, with what bounds it.

A try ends once, and tells whoever asked for it. A try that was cancelled does not report. SystemExit and
KeyboardInterrupt from user code are failures like any other.

Each try can be recalled until its body begins: whether it has is decided once, so that a body which was said not to
have begun never does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from aiki.execution.lease import Lease, NotStarted
from aiki.execution.tasks.hands import Hand, steps
from aiki.execution.tasks.processes import ProcessJob
from aiki.execution.tasks.silence import Silence
from aiki.inside.task_run import TaskRun, enter_task

if TYPE_CHECKING:
    from contextvars import Context

    from aiki.execution.kind import TaskCall
    from aiki.execution.tasks.bench import Bench
    from aiki.execution.tasks.signs import Signs
    from aiki.execution.tasks.threads import Threads

Work: TypeAlias = Callable[[Callable[[], None]], bytes]
"""What a thread does for a try: it gets a function to call once it has all that the body needs."""


class TaskTimeout(TimeoutError):
    """A try of a task took longer than its timeout."""


class TotalTimeout(TaskTimeout):
    """All tries of a task together took longer than its total timeout."""


class HeartbeatTimeout(TaskTimeout):
    """A try of a task gave no sign of life within its heartbeat timeout."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a try may take."""

    seconds: float
    total: float | None = None
    """The total timeout of its task, where the try is bounded by what is left of it."""

    def error(self) -> TaskTimeout:
        """Return what a try that takes longer fails with."""
        if self.total is None:
            return TaskTimeout(f"no result within {self.seconds:g} s")
        return TotalTimeout(f"no result within the total timeout of {self.total:g} s")


class Asker(Protocol):
    """Who has asked for a try, and is told of it on the worker's loop."""

    @property
    def call(self) -> TaskCall:
        """What is to be tried."""
        ...

    @property
    def signs(self) -> Signs:
        """The signs of life that this try gives."""
        ...

    @property
    def gives_leave(self) -> bool:
        """Whether a plain function begins only after leave. A coroutine has all that it needs, and needs none."""
        ...

    def on_ready(self, permit: threading.Event) -> None:
        """Take in that the try has all that its body needs, and begins once `permit` is set."""
        ...

    def on_begin(self, now: int) -> None:
        """Take in when the body begins that has waited for its thread or child: in that thread."""
        ...

    def on_end(self, result: bytes | BaseException) -> None:
        """Take in how it ended: the encoded result, or the exception."""
        ...

    def on_late_end(self) -> None:
        """Take in that its body has ended by now, though it was cancelled, or has reported to be too late before."""
        ...


class AsyncTry:
    """A coroutine on the worker's loop. It begins in the loop's next turn, in a context of its own."""

    __slots__ = (
        *("_asker", "_begun", "_bench", "_expired", "_hand", "_run", "_silence", "_signs", "_timer"),
        *("ended", "name"),
    )

    def __init__(self, asker: Asker, run: TaskRun, bench: Bench, *, limit: Limit | None) -> None:
        self._asker = asker
        self.name = asker.call.ask.task.name
        """Of tries of one task it is expected that all wait, or none."""
        self._run = run
        self._bench = bench
        self._signs = asker.signs
        self._silence: Silence | None = None
        self._hand: Hand | None = None
        """The task that it runs in, while it does."""
        self._begun = False
        self.ended = False
        """Whether it has reported, or never will."""
        self._expired: TaskTimeout | None = None
        self._timer = None if limit is None else bench.loop.call_later(limit.seconds, self._time_out, limit)
        bench.hands.give(self)

    def cancel(self, *, grace: float = 0.0) -> None:
        """Cancel the coroutine and never report. Nobody waits for its end, so it needs no grace."""
        self.ended = True
        self._stop_watching()
        self._signs.cancel(raises=False)
        if self._hand is not None:
            self._hand.cancel()

    def interrupt(self, *, grace: float) -> None:
        """Cancel the coroutine, and report how it ends, however long that takes."""
        self._stop_watching()
        self._signs.cancel(raises=False)
        if self._hand is not None:
            self._hand.cancel()

    def recall(self) -> bool:
        """Cancel it if its body has not begun, and tell whether that is so."""
        if self._begun:
            return False
        self.cancel()
        return True

    def spare(self) -> None:
        """Take no silence for its end any more."""
        if self._silence is not None:
            self._silence.stop()

    @property
    def may_run(self) -> bool:
        """Whether its body has begun, and not ended yet."""
        return self._begun and self._hand is not None

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
            limit = self._asker.call.ask.task.heartbeat_timeout
            if limit is not None:
                self._silence = _listen(self._signs, limit, self._bench, self._on_silent)
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
                return self._expired
            return error

    def _end(self, result: bytes | BaseException) -> None:
        self._hand = None
        if self._timer is not None or self._silence is not None:
            self._stop_watching()
        if self.ended:
            self._asker.on_late_end()
            return
        self.ended = True
        self._asker.on_end(result)

    def _give_up(self, error: TaskTimeout) -> None:
        """Report that it took too long, though its body may go on."""
        self._stop_watching()
        if not self.ended:
            self.ended = True
            self._asker.on_end(error)

    def _time_out(self, limit: Limit) -> None:
        self._expire(limit.error())

    def _on_silent(self, seconds: float) -> None:
        self._expire(_silent_error(seconds))

    def _expire(self, error: TaskTimeout) -> None:
        self._expired = error
        self._stop_watching()
        self._signs.cancel(raises=False)
        if self._hand is None:
            self._give_up(error)
            return
        self._timer = self._bench.loop.call_later(self._asker.call.ask.task.cancel_grace, self._give_up, error)
        self._hand.cancel()

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._silence is not None:
            self._silence.stop()


class ThreadTry:
    """A plain function in a thread, or a process that a thread waits for."""

    __slots__ = (
        *("_asker", "_bench", "_context", "_job", "_limit", "_loop", "_permit", "_process", "_silence", "_start"),
        *("_threads", "_timer", "_work", "ended", "may_run"),
    )

    def __init__(
        self,
        asker: Asker,
        work: Work,
        bench: Bench,
        *,
        limit: Limit | None,
        threads: Threads,
        process: ProcessJob | None = None,
    ) -> None:
        """`work` runs in one of `threads`, which waits for a `process` that is given; `limit` counts from its begin."""
        self._asker = asker
        self._bench = bench
        self._work = work
        self._process = process
        self._permit = threading.Event() if asker.gives_leave else None
        self._start = threading.Lock()
        """Who locks it, once and for ever, has decided: the thread that the body begins, others that it never does."""
        self.ended = False
        """Whether it has reported, or never will."""
        self.may_run = True
        """Whether its body may still run, or yet begin."""
        self._loop = bench.loop
        self._context = bench.context.copy()
        self._limit = limit
        self._timer: asyncio.TimerHandle | None = None
        self._silence: Silence | None = None
        self._threads = threads
        self._job = threads.submit(self._run_in_thread)

    def cancel(self, *, grace: float = 0.0) -> None:
        """Give the thread up, or have its process end within `grace` seconds, and never report."""
        self.ended = True
        may_have_begun = not self._start.acquire(blocking=False)
        self.may_run &= may_have_begun
        if self._permit is not None:
            self._permit.set()
        if self._process is not None and may_have_begun and grace:
            self._stop_watching()
            self._process.interrupt()
            self._timer = self._loop.call_later(grace, self._process.kill)
        else:
            self._stop()

    def interrupt(self, *, grace: float) -> None:
        """Have the body told to end, and report how it does; a process is killed after `grace` seconds."""
        self._stop_watching()
        if self._process is None:
            self._asker.signs.cancel(raises=True)
        else:
            self._process.interrupt()
            self._timer = self._loop.call_later(grace, self._process.kill)

    def recall(self) -> bool:
        """Cancel it if its body has not begun, and tell whether that is so."""
        if not self._start.acquire(blocking=False):
            return False
        self.may_run = False
        self.cancel()
        return True

    def spare(self) -> None:
        """Take no silence for its end any more."""
        if self._silence is not None:
            self._silence.stop()

    def _run_in_thread(self) -> None:
        result: bytes | BaseException
        try:
            result = self._context.run(self._work, self._ready)
        except BaseException as error:  # noqa: BLE001 - the boundary of user code
            result = error
        self._tell_loop(self._over, result)

    def _over(self, result: bytes | BaseException) -> None:
        """Take in that the thread is through with it."""
        could_run, self.may_run = self.may_run, False
        if not self.ended:
            self._end(result)
        elif could_run:
            self._asker.on_late_end()

    def _ready(self) -> None:
        """Return when the body may begin. Raises NotStarted if the try was recalled."""
        if self._permit is not None:
            self._tell_loop(self._tell_ready, self._permit)
            self._permit.wait()
        if not self._start.acquire(blocking=False):
            raise NotStarted
        self._asker.on_begin(self._bench.now())
        if self._limit is not None or self._asker.call.ask.task.heartbeat_timeout is not None:
            self._tell_loop(self._watch)

    def _tell_loop(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise  # else the worker has ended, and nobody is left to tell

    def _tell_ready(self, permit: threading.Event) -> None:
        if not self.ended:
            self._asker.on_ready(permit)

    def _watch(self) -> None:
        if self.ended:
            return
        if self._limit is not None:
            self._timer = self._loop.call_later(self._limit.seconds, self._time_out, self._limit)
        heartbeat = self._asker.call.ask.task.heartbeat_timeout
        if heartbeat is not None:
            self._silence = _listen(self._asker.signs, heartbeat, self._bench, self._on_silent)

    def _time_out(self, limit: Limit) -> None:
        self._expire(limit.error())

    def _on_silent(self, seconds: float) -> None:
        self._expire(_silent_error(seconds))

    def _expire(self, error: TaskTimeout) -> None:
        self._stop()
        self._end(error)

    def _end(self, result: bytes | BaseException) -> None:
        self._stop_watching()
        if not self.ended:
            self.ended = True
            self._asker.on_end(result)

    def _stop(self) -> None:
        self._stop_watching()
        if self._process is not None:
            self._process.kill()  # its thread then ends by itself
        else:
            self._asker.signs.cancel(raises=True)
            self._threads.abandon(self._job)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._silence is not None:
            self._silence.stop()


Try: TypeAlias = AsyncTry | ThreadTry


def start_try(asker: Asker, run: TaskRun, bench: Bench, *, life: str, limit: Limit | None) -> Try:
    """Start one try of the call's task where the task wants to run.

    If the lease is not certain when the body would begin, the try ends with NotStarted. Raises UsageError if a process
    task cannot be found by another process, PayloadError if its arguments do not fit.
    """
    call = asker.call
    task = call.ask.task
    if task.is_async:
        return AsyncTry(asker, run, bench, limit=limit)
    if task.executor == "process":
        processes = bench.pools.processes
        job = ProcessJob(processes, task, call.ask.encoded_arguments(), (run, life, asker.signs), bench.lease)
        return ThreadTry(asker, job.run, bench, limit=limit, threads=processes.threads, process=job)
    work = partial(_work_in_thread, call, run, bench.lease)
    return ThreadTry(asker, work, bench, limit=limit, threads=bench.pools.threads)


def _work_in_thread(call: TaskCall, run: TaskRun, lease: Lease, ready: Callable[[], None]) -> bytes:
    enter_task(run)
    args, kwargs = call.ask.arguments()
    ready()
    return call.ask.task.result.encode(lease.begin(call.ask.task.fn, args, kwargs))


def _listen(signs: Signs, seconds: float, bench: Bench, on_silent: Callable[[float], None]) -> Silence:
    return Silence(signs, seconds, loop=bench.loop, lease=bench.lease, on_silent=on_silent)


def _silent_error(seconds: float) -> HeartbeatTimeout:
    return HeartbeatTimeout(f"no heartbeat within {seconds:g} s")
