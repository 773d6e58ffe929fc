"""Own the calls of a run that were let go: which wait for a commit, which run, and which wait for their next attempt.

A try starts only when everything that the run was given before it was asked for is durable, and so is the row of the
try before it: a crash then loses neither an outcome nor a count. What is final goes to `on_outcome`; what is not
becomes a row beside the log and a date.

The start of an `at_most_once` task is announced: put on record before its body begins, since a later claim that finds
no more than that cannot know what came of it. So it is announced as late as can be, when the try has its thread or
child and the lease is certain; and what did not begin all the same is taken back as long as the claim holds.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import AikiError, PayloadError
from aiki.core.failpoints import failpoint
from aiki.core.moments import SECOND
from aiki.core.words import failed_try
from aiki.execution.called import preview
from aiki.execution.failures import encode_failure
from aiki.execution.lease import NotStarted
from aiki.execution.tasks.child import Raised, raised
from aiki.execution.tasks.processes import ProcessFailure
from aiki.execution.tasks.retries import Retries
from aiki.execution.tasks.signs import Signs
from aiki.execution.tasks.started import Started
from aiki.execution.tasks.tries import Limit, TotalTimeout, start_try
from aiki.inside.task_run import TaskRun, life_of
from aiki.wire.limits import PREVIEW_BYTES
from aiki.wire.messages import NULL, UNDER_WAY, Attempt, Claimed, Failure
from aiki.wire.packing import PAYLOAD_BYTES_LEAST, payload_misfit

if TYPE_CHECKING:
    from aiki.execution.kind import TaskCall
    from aiki.execution.lease import Lease
    from aiki.execution.outbox import Outbox
    from aiki.execution.tasks.bench import Bench

_NULL: Final = bytes(NULL)
_UNDER_WAY: Final = bytes(UNDER_WAY)


class Attempts:
    """The tasks of one claimed run. Implements `started.Tries`, and `aiki.execution.cancelling.Tries`."""

    __slots__ = (
        *("_bench", "_claimed", "_given_up", "_lasting", "_on_last_end", "_on_outcome", "_outbox", "_prior"),
        *("_retries", "_started", "_waiting"),
        *("has_retries", "running", "uncertain"),
    )

    def __init__(
        self,
        bench: Bench,
        claimed: Claimed,
        *,
        outbox: Outbox,
        on_outcome: Callable[[TaskCall | None, bool, bytes], None],
        on_last_end: Callable[[str], None],
    ) -> None:
        """`on_outcome` gets (call, ok, value), or (None, ...) when only an attempt failed.

        `on_last_end` gets the key of a call whose key other runs may have, when no try that was given up of it runs any
        more.
        """
        self._bench = bench
        self._claimed = claimed
        self._outbox = outbox
        self._on_outcome = on_outcome
        self._on_last_end = on_last_end
        self._lasting: dict[str, int] = {}
        """Of calls whose key other runs may have: how many tries run that were given up, or were too late."""
        self._prior: dict[str, Attempt] = {}
        self._given_up: dict[str, int] = {}
        self._started: dict[str, Started] = {}
        self._waiting: deque[Started] = deque()
        self._retries: Retries[Started] = Retries()
        self.has_retries = False
        """Whether a call has ever waited for its next attempt: most runs have none, and need not look."""
        self.running = 0
        """Tries that run now."""
        self.uncertain = False
        """Whether the lease was uncertain when `launch` last looked: it may be certain by now, and nobody tells."""

    @property
    def lease(self) -> Lease:
        """Under which its tries begin."""
        return self._bench.lease

    def know(self, prior: Mapping[str, Attempt], given_up: Mapping[str, int]) -> None:
        """Take in the last try of each task by earlier claims, before the first call is admitted.

        Of those that were `given_up`, and are tried again because the run is, the tries until then count no more.
        """
        self._prior.update(prior)
        self._given_up.update(given_up)

    def admit(self, call: TaskCall, now: int, *, announce: bool) -> None:
        """Take a new call; it starts by `launch`.

        Without `announce` no start of an `at_most_once` task goes on record yet.
        """
        if (stand_in := self._bench.stand_in) is not None:
            call.ask.task = stand_in(call.ask.task)
        prior = self._prior.pop(call.key, None)
        before = self._given_up.get(call.key, 0) if self._given_up else 0
        number = max(before + 1, 1 if prior is None else _next_number(prior))
        call.started_at = None
        started = self._started[call.key] = Started(self, call, number, self._outbox.added, before)
        if prior is not None and bytes(prior.details) != _NULL:
            started.said, started.said_at = bytes(prior.details), prior.details_at
        if prior is not None and bytes(prior.error) == _NULL:
            self._give_up(started, _outcome_unknown(call, prior.attempt))
        elif prior is not None and prior.next_at is not None and prior.next_at > now:
            self._retry_at(prior.next_at, started)
        else:
            # A coroutine needs neither thread nor child: its start goes into the commit that it waits for anyway.
            if call.ask.task.at_most_once and call.ask.task.is_async and announce and self._bench.lease.is_certain():
                self._announce(started)
            self._waiting.append(started)

    def cancel(self, call: TaskCall) -> None:
        """Forget a call that nobody waits for."""
        started = self._started.get(call.key)
        if started is not None and started.call is call:
            self._recall(started)
            self._forget(started)
            if started.is_shown:
                self._hush(started)
            self._stop_trying(started, grace=call.ask.task.cancel_grace)
            if started.announced:  # its body has begun: whoever asks for it again must not start it again
                self._prior[call.key] = Attempt(call.key, started.number, NULL)

    def cancel_all(self) -> None:
        """Forget all calls."""
        for started in self._started.values():
            started.is_over = True
            self._stop_trying(started)
        self._started.clear()
        self._waiting.clear()
        self._retries.clear()

    def close(self) -> None:
        """Forget all calls, and the owner."""
        self.cancel_all()
        self._on_outcome, self._on_last_end = _ignore, _ignore_end

    def recall(self) -> None:
        """Take back all tries that have not begun: none of them will, and it is on record that they did not.

        Of those that have, the last word goes on record: others may soon have to go on from there.
        """
        for started in self._started.values():
            self._recall(started)
            if started.trying is not None and started.signs.said is not started.said:
                self._note(started)

    def tell_to_end(self) -> None:
        """Have the tries that run end, each within its grace, and take back those that have not begun."""
        now = self._bench.now()
        for started in list(self._started.values()):
            self._recall(started)
            if started.trying is not None:
                grace = started.call.ask.task.cancel_grace
                started.ends_by = now + round(grace * SECOND)
                started.trying.interrupt(grace=grace)

    def may_be_left(self, now: int) -> bool:
        """Tell whether no try runs, or the grace of those that do is over."""
        over_at = self.grace_over_at()
        return over_at is None or over_at <= now

    def grace_over_at(self) -> int | None:
        """Return when the grace of the last try is over that was told to end; None if none runs."""
        told = (one.ends_by for one in self._started.values() if one.trying is not None and one.ends_by is not None)
        return max(told, default=None)

    def lasts(self, key: str) -> bool:
        """Tell whether a try of a shared call may still run that was given up, or was too late."""
        return key in self._lasting

    def grace_of(self, call: TaskCall) -> int:
        """Return when the grace of a try of the call is over that is told to end now, or was before."""
        started = self._started.get(call.key)
        if started is not None and started.ends_by is not None:
            return started.ends_by
        return self._bench.now() + round(call.ask.task.cancel_grace * SECOND)

    def is_ready(self, now: int) -> bool:
        """Tell whether there is anything to `launch`; one task after the other waits for a commit first."""
        waiting = self._waiting
        if self.has_retries:
            waiting.extend(self._retries.take_due(now))
        return bool(waiting) and (len(waiting) > 1 or waiting[0].need <= self._outbox.durable)

    def launch(self, now: int) -> None:
        """Start what may start."""
        waiting, durable = self._waiting, self._outbox.durable
        may_start = self._bench.lease.is_certain()
        self.uncertain = not may_start
        for _ in range(len(waiting)):
            if not waiting:
                return  # what started has ended the claim
            started = waiting.popleft()
            if started.is_over:
                continue
            if may_start and started.need <= durable:
                self._let_go(started, now)
            else:
                waiting.append(started)

    @property
    def waiting(self) -> bool:
        """Whether a try is ready but for a commit, the lease, or the end of draining."""
        for started in self._waiting:  # noqa: SIM110 - a generator costs more, and this is on the hot path
            if not started.is_over:
                return True
        return False

    def trying(self) -> Iterator[Started]:
        """Yield the calls of which a try runs, in the order in which they were let go."""
        return (one for one in self._started.values() if one.trying is not None)

    def next_retry_at(self) -> int | None:
        """Return when the next attempt of any call is due, in microseconds."""
        return self._retries.next_at()

    def why_due(self, when: int) -> str | None:
        """Return which task is tried again at `when`, and why; None if none is, or it failed under an earlier claim."""
        if self.next_retry_at() != when:
            return None
        started = self._retries.first()
        if (failure := started.failed) is None:
            return None
        return failed_try(started.call.ask.task.name, started.number - 1, type=failure.type, message=failure.message)

    # -- told by the calls that were started

    def wait_again(self, started: Started) -> None:
        """Let a call go once more, when it may be: its try has not begun."""
        self._waiting.append(started)
        self._on_outcome(None, False, b"")

    def said(self, started: Started) -> None:
        """Put on record what a try has said, without a word of how it ends."""
        self._note(started)
        self._on_outcome(None, False, b"")

    def tried(self, started: Started, result: bytes | BaseException) -> None:
        """Take in how a try ended."""
        if started.trying is not None:
            self._outlives(started)
        started.trying = None
        started.signs.close()
        self.running -= 1
        failpoint("task.after_body")
        if isinstance(result, bytes):
            misfit = self._misfit(started, result) if len(result) > PAYLOAD_BYTES_LEAST else None
            if misfit is None:
                self._forget(started)
                if started.is_shown:
                    self._hush(started)
                self._on_outcome(started.call, True, result)
            else:
                self._fail(started, misfit)
        elif isinstance(result, NotStarted):
            self.wait_again(started)
        else:
            self._fail(started, result)

    def outlived(self, started: Started) -> None:
        """Take in that a try has ended by now that was given up, or reported, before its body had."""
        key = started.call.key
        if (count := self._lasting.get(key)) is None:
            return
        if count > 1:
            self._lasting[key] = count - 1
        else:
            del self._lasting[key]
            self._on_last_end(key)

    # -- private

    def _outlives(self, started: Started) -> None:
        """Take note of a try that nobody waits for any more, and whose body may still run."""
        trying, call = started.trying, started.call
        if trying is not None and trying.may_run and call.ask.task.idempotency_scope != "run":
            self._lasting[call.key] = self._lasting.get(call.key, 0) + 1

    def _forget(self, started: Started) -> None:
        started.is_over = True
        del self._started[started.call.key]

    def _note(self, started: Started) -> None:
        told = NULL if started.is_shown else self._told(started, 0)
        started.is_shown = True
        self._outbox.add_attempt(started.row(UNDER_WAY, None, self._bench.now(), told))

    def _hush(self, started: Started) -> None:
        """Have a try that has ended without a failure say nothing any more: else it would be shown as running."""
        # Later than all that it has said, for that alone counts.
        now = max(self._bench.now(), (started.said_at or 0) + 1)
        self._outbox.add_attempt(Attempt(started.call.key, started.number, UNDER_WAY, None, NULL, now))

    def _told(self, started: Started, beside: int) -> Raw:
        """Return what is told of a try's arguments: all that are recorded with the first, else their beginning."""
        call = started.call
        told = call.kind.arguments(call, beside)
        is_first = started.number == started.before + 1
        return told if is_first or len(told) <= PREVIEW_BYTES else preview(call.form)

    def _retry_at(self, when: int, started: Started) -> None:
        self.has_retries = True
        self._retries.add(when, started)

    def _announce(self, started: Started) -> None:
        row = Attempt(started.call.key, started.number, NULL, started=self._bench.now())
        row.arguments = self._told(started, 0)
        self._outbox.add_attempt(row)
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

    def _recall(self, started: Started) -> None:
        """Take back a try and its announcement, unless its body has begun."""
        if started.trying is not None:
            if not started.trying.recall():
                started.trying.spare()  # what is cut off while we drain would not be tried again here
                return
            started.signs.close()
            started.trying = None
            self.running -= 1
            if started.permit is None:
                self._waiting.append(started)
            started.permit = None
        if started.announced:
            failure = Failure("NotStarted", "it was taken back before it began", task=started.call.ask.task.name)
            row = Attempt(started.call.key, started.number, Raw(encode_failure(failure)))
            self._outbox.add_attempt(row)
            self._prior[started.call.key] = row
            started.announced = False
            started.number += 1
            started.need = self._outbox.added

    def _stop_trying(self, started: Started, *, grace: float = 0.0) -> None:
        if started.trying is not None:
            started.signs.close()
            started.trying.cancel(grace=grace)
            self._outlives(started)
            started.trying = None
            self.running -= 1

    def _try(self, started: Started, now: int) -> None:
        call = started.call
        task = call.ask.task
        limit = None if task.timeout is None else Limit(task.timeout)
        if task.total_timeout is not None:
            left = task.total_timeout - (now - call.since) / SECOND
            if left <= 0:
                self._give_up(started, _too_late(call, started.number - 1))
                return
            if limit is None or left < limit.seconds:
                limit = Limit(left, task.total_timeout)
        bench = self._bench
        life = life_of(task.idempotency_scope, self._claimed, bench.namespace)
        started.signs = Signs(bench.loop, started.on_said, said=started.said)
        run = TaskRun(
            run_id=self._claimed.fence.run_id,
            life=life,
            key=call.key,
            attempt=started.number,
            pulse=started.signs,
            shared=bench.shared,
        )
        self.running += 1
        call.started_at = now
        try:
            trying = start_try(started, run, bench, life=life, limit=limit)
        except AikiError as error:
            self.tried(started, error)
            return
        # A coroutine that was started eagerly may have ended already.
        if not (started.is_over or trying.ended):
            started.trying = trying

    def _misfit(self, started: Started, result: bytes) -> PayloadError | None:
        what = f"the result of task {started.call.ask.task.name!r}"
        return payload_misfit(len(result), what, room=self._bench.room())

    def _fail(self, started: Started, error: BaseException) -> None:
        call = started.call
        if started.ends_by is not None and call.ask.task.at_most_once:
            self._give_up(started, _outcome_unknown(call, started.number))
            return
        known = error.raised if isinstance(error, ProcessFailure) else raised(error, call.ask.task.retry)
        now = self._bench.now()
        is_last = isinstance(error, TotalTimeout) or started.ends_by is not None
        delay = None if is_last else self._next_delay(started, known, now)
        if delay is None:
            self._give_up(started, known.failure)
            return
        next_at = now + round(delay * SECOND)
        failed = Raw(encode_failure(known.failure))
        self._outbox.add_attempt(started.row(failed, next_at, now, self._told(started, len(failed))))
        started.number += 1
        started.is_shown = False
        started.need = self._outbox.added
        started.failed = known.failure
        self._retry_at(next_at, started)
        self._on_outcome(None, False, b"")

    def _next_delay(self, started: Started, known: Raised, now: int) -> float | None:
        """Return the seconds until the next attempt, or None if this failure is final."""
        task = started.call.ask.task
        if known.final or task.at_most_once:
            return None
        elapsed = (now - started.call.since) / SECOND
        delay = task.retry.next_delay(started.number - started.before, elapsed=elapsed, random=random.random)
        if delay is not None and known.retry_after is not None:
            delay = known.retry_after
        if delay is not None and task.total_timeout is not None and elapsed + delay >= task.total_timeout:
            return None
        return delay

    def _give_up(self, started: Started, failure: Failure) -> None:
        call = started.call
        self._forget(started)
        if started.is_shown:
            self._hush(started)
        if not failure.attempts:
            failure = replace(failure, task=call.ask.task.name, attempts=started.number)
        self._on_outcome(call, False, encode_failure(failure))


def _ignore(call: TaskCall | None, ok: bool, value: bytes) -> None:
    """Take no outcome: the claim is over."""


def _ignore_end(key: str) -> None:
    """Take no end of a try: the claim is over."""


def _next_number(prior: Attempt) -> int:
    # Numbers count failures: a try that was cut off with its worker is made once more.
    return prior.attempt + (bytes(prior.error) != _UNDER_WAY)


def _too_late(call: TaskCall, attempts: int) -> Failure:
    return Failure(
        TotalTimeout.__name__,
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
