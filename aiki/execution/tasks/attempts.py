"""Own the calls of a run that were let go: which wait for a commit, which run, and which wait for their next attempt.

A try starts only when everything that the run was given before it was asked for is durable, and so is the row of the
try before it: a crash then loses neither an outcome nor a count. What is final goes to `on_outcome`; what is not
becomes a row beside the log and a date.

The start of an `at_most_once` task is announced: put on record before its body begins, since a later claim that finds
no more than that cannot know what came of it. So it is announced as late as can be, when the try has its thread or
child and the lease is certain; and what did not begin all the same is taken back as long as the claim holds.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import AikiError
from aiki.core.failpoints import failpoint
from aiki.core.words import failed_try
from aiki.execution.failures import encode_failure
from aiki.execution.lease import Lease, NotStarted
from aiki.execution.tasks.child import Raised, raised
from aiki.execution.tasks.processes import ProcessFailure
from aiki.execution.tasks.tries import TaskTimeout, Try, start_try
from aiki.inside.task_run import TaskRun
from aiki.wire.messages import NULL, Attempt, Failure
from aiki.wire.packing import PAYLOAD_BYTES_LEAST, payload_misfit

if TYPE_CHECKING:
    from aiki.execution.kind import TaskCall
    from aiki.execution.outbox import Outbox
    from aiki.execution.settings import Settings

SECOND: Final = 1_000_000
_NULL: Final = bytes(NULL)


class Started:
    """A call that was let go, and the attempt that is made or due next."""

    __slots__ = ("announced", "call", "failed", "need", "number", "permit", "trying")

    def __init__(self, call: TaskCall, number: int, need: int) -> None:
        self.call = call
        self.number = number
        """The attempt, counted from 1."""
        self.need = need
        """The outbox count that must be durable before it starts."""
        self.announced = False
        """Its start is on record: an `at_most_once` task that must now run or be taken back."""
        self.permit: threading.Event | None = None
        """What its try waits for, that has all it needs to begin."""
        self.trying: Try | None = None
        self.failed: Failure | None = None
        """What the last try failed with; None if there was none under this claim."""


class Attempts:
    """The tasks of one claimed run."""

    __slots__ = (
        "_context",
        "_lease",
        "_loop",
        "_made",
        "_now",
        "_on_outcome",
        "_origin_id",
        "_outbox",
        "_prior",
        "_retries",
        "_room",
        "_run_id",
        "_settings",
        "_started",
        "_waiting",
        "running",
        "uncertain",
    )

    def __init__(
        self,
        prior: Iterable[Attempt],
        *,
        run_id: str,
        origin_id: str,
        outbox: Outbox,
        context: Context,
        settings: Settings,
        now: Callable[[], int],
        lease: Lease,
        room: Callable[[], int],
        on_outcome: Callable[[TaskCall | None, bool, bytes], None],
    ) -> None:
        """`on_outcome` gets (call, ok, value), or (None, ...) when only an attempt failed."""
        self._prior: dict[str, Attempt] = {}
        self.know(prior)
        self._run_id = run_id
        self._origin_id = origin_id
        self._outbox = outbox
        self._context = context
        self._settings = settings
        self._now = now
        self._lease = lease
        self._room = room
        self._on_outcome = on_outcome
        self._loop = asyncio.get_running_loop()
        self._started: dict[str, Started] = {}
        self._waiting: deque[Started] = deque()
        self._retries: list[tuple[int, int, Started]] = []
        self._made = 0
        self.running = 0
        """Tries that run now."""
        self.uncertain = False
        """Whether the lease was uncertain when `launch` last looked: it may be certain by now, and nobody tells."""

    def know(self, prior: Iterable[Attempt]) -> None:
        """Take in tries of earlier claims, before the first call is admitted."""
        for row in prior:
            known = self._prior.get(row.key)
            if known is None or known.attempt < row.attempt:
                self._prior[row.key] = row

    @property
    def tried(self) -> int:
        """How many tasks are known to have been tried by earlier claims."""
        return len(self._prior)

    @property
    def last_tried(self) -> str:
        """The last key of these tasks."""
        return max(self._prior, default="")

    def admit(self, call: TaskCall, now: int, *, announce: bool) -> None:
        """Take a new call; it starts by `launch`.

        Without `announce` no start of an `at_most_once` task goes on record yet.
        """
        prior = self._prior.pop(call.key, None)
        number = 1 if prior is None else prior.attempt + 1
        started = self._started[call.key] = Started(call, number, self._outbox.added)
        if prior is not None and bytes(prior.error) == _NULL:
            self._give_up(started, _outcome_unknown(call, prior.attempt))
        elif prior is not None and prior.next_at is not None and prior.next_at > now:
            self._retry_at(started, prior.next_at)
        else:
            # A coroutine needs neither thread nor child: its start goes into the commit that it waits for anyway.
            if call.ask.task.at_most_once and call.ask.task.is_async and announce and self._lease.is_certain():
                self._announce(started)
            self._waiting.append(started)

    def cancel(self, call: TaskCall) -> None:
        """Forget a call that nobody waits for."""
        started = self._started.get(call.key)
        if started is not None and started.call is call:
            self._recall(started)
            del self._started[call.key]
            self._stop_trying(started)
            if started.announced:  # its body has begun: whoever asks for it again must not start it again
                self._prior[call.key] = Attempt(call.key, started.number, NULL)

    def cancel_all(self) -> None:
        """Forget all calls."""
        for started in self._started.values():
            self._stop_trying(started)
        self._started.clear()
        self._waiting.clear()
        self._retries.clear()

    def close(self) -> None:
        """Forget all calls, and the owner."""
        self.cancel_all()
        self._on_outcome = _ignore

    def recall(self) -> None:
        """Take back all tries that have not begun: none of them will, and it is on record that they did not."""
        for started in self._started.values():
            self._recall(started)

    def launch(self, now: int, *, draining: bool) -> None:
        """Start what may start: nothing while draining."""
        may_start = self._lease.is_certain()
        self.uncertain = not may_start
        while self._retries and self._retries[0][0] <= now:
            _, _, started = heapq.heappop(self._retries)
            if self._is_current(started):
                self._waiting.append(started)
        waiting, durable = self._waiting, self._outbox.durable
        for _ in range(len(waiting)):
            if not waiting:
                return  # what started has ended the claim
            started = waiting.popleft()
            if not self._is_current(started):
                continue
            if may_start and started.need <= durable and not draining:
                self._let_go(started, now)
            else:
                waiting.append(started)

    @property
    def may_launch(self) -> bool:
        """Whether `launch` could have anything to do."""
        waiting = self._waiting
        if len(waiting) == 1:  # one task after the other is the common life: it waits for a commit first
            return waiting[0].need <= self._outbox.durable or bool(self._retries)
        return bool(waiting or self._retries)

    @property
    def waiting(self) -> bool:
        """Whether a try is ready but for a commit, the lease, or the end of draining."""
        for started in self._waiting:  # noqa: SIM110 - a generator costs more, and this is on the hot path
            if self._is_current(started):
                return True
        return False

    def next_retry_at(self) -> int | None:
        """Return when the next attempt of any call is due, in microseconds."""
        retries = self._retries
        while retries and not self._is_current(retries[0][2]):
            heapq.heappop(retries)
        return retries[0][0] if retries else None

    def why_due(self, when: int) -> str | None:
        """Return which task is tried again at `when`, and why; None if none is, or it failed under an earlier claim."""
        if self.next_retry_at() != when:
            return None
        started = self._retries[0][2]
        if (failure := started.failed) is None:
            return None
        return failed_try(started.call.ask.task.name, started.number - 1, type=failure.type, message=failure.message)

    # -- private

    def _is_current(self, started: Started) -> bool:
        return self._started.get(started.call.key) is started

    def _announce(self, started: Started) -> None:
        self._outbox.add(Attempt(started.call.key, started.number, NULL))
        started.need = self._outbox.added
        started.announced = True

    def _let_go(self, started: Started, now: int) -> None:
        task = started.call.ask.task
        if task.at_most_once and not started.announced and (task.is_async or started.permit is not None):
            self._announce(started)
            self._waiting.append(started)
            return
        failpoint("task.before_body")
        if started.permit is not None:
            permit, started.permit = started.permit, None
            permit.set()
        else:
            self._try(started, now)

    def _on_ready(self, started: Started, permit: threading.Event) -> None:
        """Take in that a try has its thread or child: from here on it is let go like any other."""
        started.permit = permit
        self._waiting.append(started)
        self._on_outcome(None, False, b"")

    def _recall(self, started: Started) -> None:
        """Take back a try and its announcement, unless its body has begun."""
        if started.trying is not None:
            if not started.trying.recall():
                return
            started.trying = None
            self.running -= 1
            if started.permit is None:
                self._waiting.append(started)
            started.permit = None
        if started.announced:
            failure = Failure("NotStarted", "it was taken back before it began", task=started.call.ask.task.name)
            row = Attempt(started.call.key, started.number, Raw(encode_failure(failure)))
            self._outbox.add(row)
            self._prior[started.call.key] = row
            started.announced = False
            started.number += 1
            started.need = self._outbox.added

    def _stop_trying(self, started: Started) -> None:
        if started.trying is not None:
            started.trying.cancel()
            started.trying = None
            self.running -= 1

    def _try(self, started: Started, now: int) -> None:
        call = started.call
        task = call.ask.task
        timeout = task.timeout
        if task.total_timeout is not None:
            left = task.total_timeout - (now - call.asked_at) / SECOND
            if left <= 0:
                self._give_up(started, _too_late(call, started.number - 1))
                return
            timeout = left if timeout is None else min(timeout, left)
        shared = self._settings.shared
        run = TaskRun(
            run_id=self._run_id, origin_id=self._origin_id, key=call.key, attempt=started.number, shared=shared
        )
        self.running += 1
        try:
            trying = start_try(
                call,
                run,
                origin_id=self._origin_id,
                timeout=timeout,
                context=self._context,
                loop=self._loop,
                on_end=partial(self._on_end, started),
                on_ready=partial(self._on_ready, started) if task.at_most_once and not started.announced else None,
                settings=self._settings,
                lease=self._lease,
            )
        except AikiError as error:
            self._on_end(started, error)
            return
        # A coroutine that was started eagerly may have ended already.
        if self._is_current(started) and not trying.ended:
            started.trying = trying

    def _on_end(self, started: Started, result: bytes | BaseException) -> None:
        started.trying = None
        self.running -= 1
        failpoint("task.after_body")
        if isinstance(result, bytes) and len(result) > PAYLOAD_BYTES_LEAST:
            what = f"the result of task {started.call.ask.task.name!r}"
            result = payload_misfit(len(result), what, room=self._room()) or result
        if isinstance(result, bytes):
            del self._started[started.call.key]
            self._on_outcome(started.call, True, result)
        elif isinstance(result, NotStarted):
            self._waiting.append(started)
            self._on_outcome(None, False, b"")
        else:
            self._fail(started, result)

    def _fail(self, started: Started, error: BaseException) -> None:
        call = started.call
        known = error.raised if isinstance(error, ProcessFailure) else raised(error, call.ask.task.retry)
        now = self._now()
        delay = self._next_delay(started, known, now)
        if delay is None:
            self._give_up(started, known.failure)
            return
        next_at = now + round(delay * SECOND)
        self._outbox.add(Attempt(call.key, started.number, Raw(encode_failure(known.failure)), next_at))
        started.number += 1
        started.need = self._outbox.added
        started.failed = known.failure
        self._retry_at(started, next_at)
        self._on_outcome(None, False, b"")

    def _next_delay(self, started: Started, known: Raised, now: int) -> float | None:
        """Return the seconds until the next attempt, or None if this failure is final."""
        task = started.call.ask.task
        if known.final or task.at_most_once:
            return None
        elapsed = (now - started.call.asked_at) / SECOND
        delay = task.retry.next_delay(started.number, elapsed=elapsed, random=random.random)
        if delay is not None and known.retry_after is not None:
            delay = known.retry_after
        if delay is not None and task.total_timeout is not None and elapsed + delay >= task.total_timeout:
            return None
        return delay

    def _give_up(self, started: Started, failure: Failure) -> None:
        call = started.call
        del self._started[call.key]
        if not failure.attempts:
            failure = replace(failure, task=call.ask.task.name, attempts=started.number)
        self._on_outcome(call, False, encode_failure(failure))

    def _retry_at(self, started: Started, next_at: int) -> None:
        self._made += 1
        heapq.heappush(self._retries, (next_at, self._made, started))


def _ignore(call: TaskCall | None, ok: bool, value: bytes) -> None:
    """Take no outcome: the claim is over."""


def _too_late(call: TaskCall, attempts: int) -> Failure:
    return Failure(
        TaskTimeout.__name__,
        f"no attempt could begin within the total timeout of {call.ask.task.total_timeout:g} s",
        task=call.ask.task.name,
        attempts=max(1, attempts),
    )


def _outcome_unknown(call: TaskCall, attempts: int) -> Failure:
    return Failure(
        "TaskOutcomeUnknown",
        "its start is on record, and its worker ended before it reported: it may have taken effect; not repeated",
        task=call.ask.task.name,
        attempts=attempts,
        unknown=True,
    )
