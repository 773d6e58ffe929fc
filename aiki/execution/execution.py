"""Own one claimed run from its claim to its end: the body, its tasks, and what is written about both.

Record and proceed: an outcome goes to the body as soon as its entry is in the outbox, and the next step that the
world can see (starting a task, suspending, ending) waits until everything before it is durable. One unit is in flight
at a time; what comes about meanwhile travels in the next one. So K tasks in a row cost K commits, and the last task's
entry and the completion share one.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from aiki.core.errors import AikiError, UsageError
from aiki.core.states import Move
from aiki.execution import ends
from aiki.execution.body import Body, Outcome
from aiki.execution.journal import Journal
from aiki.execution.outbox import Outbox
from aiki.execution.tasks.attempts import Attempts
from aiki.execution.watchdog import Step, watchdog
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.limits import ENTRIES_HARD, ENTRIES_SOFT, JOURNAL_BYTES_HARD, JOURNAL_BYTES_SOFT
from aiki.wire.messages import Claimed, End, Entry, Page, PageReply, Recorded, Unit

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow
    from aiki.execution.host import Host
    from aiki.execution.kind import TaskCall
    from aiki.execution.lease import Lease
    from aiki.execution.settings import Settings

_logger = logging.getLogger("aiki.execution")
SECOND: Final = 1_000_000
_SHORTEST_ALARM: Final = 0.001


class Execution:
    """A run that this worker has claimed. All methods are called on the worker's loop."""

    __slots__ = (
        "_advancing",
        "_again",
        "_alarm",
        "_alarm_at",
        "_attempts",
        "_body",
        "_draining",
        "_end",
        "_entries",
        "_flown",
        "_host",
        "_journal_bytes",
        "_journal_length",
        "_last_at",
        "_lingering",
        "_loop",
        "_outbox",
        "_over",
        "_scheduled",
        "_settings",
        "_step",
        "_stirred",
        "_too_large",
        "_wants_slot",
        "_workflow",
        "claimed",
        "fence",
        "lease",
        "suspect",
    )

    def __init__(
        self, claimed: Claimed, workflow: Workflow[Any, Any], host: Host, *, settings: Settings, lease: Lease
    ) -> None:
        """`lease` is that of the session by which the run was claimed: its tasks begin under no other."""
        self.fence = claimed.fence
        self.lease = lease
        self.suspect = claimed.suspect
        self.claimed = claimed
        self._workflow = workflow
        self._host = host
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(claimed.length)
        self._entries: list[Entry] = claimed.entries
        self._journal_length = claimed.length
        self._journal_bytes = 0
        self._body: Body | None = None
        self._attempts = Attempts(
            claimed.attempts,
            run_id=self.fence.run_id,
            origin_id=claimed.origin_id,
            outbox=self._outbox,
            context=copy_context(),
            settings=settings,
            now=host.now,
            lease=lease,
            room=host.room,
            on_outcome=self._on_outcome,
        )
        self._step = Step(self.fence.run_id, settings.slow_step_seconds)
        self._flown: Unit | None = None
        self._end: End | None = None
        self._too_large = False
        self._over = False
        self._draining = False
        self._lingering = False
        self._wants_slot = False
        self._advancing = False
        self._again = False
        self._stirred = True
        self._scheduled = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0
        self._last_at = claimed.started_at

    def __repr__(self) -> str:
        return f"<Execution of {self.claimed.workflow} {self.fence.run_id}>"

    # -- called by the worker

    def start(self) -> None:
        """Read the rest of the journal if there is more, then run the body as far as it goes."""
        run_id, attempts = self.fence.run_id, self._attempts
        if len(self._entries) < self.claimed.length:
            self._host.fetch_page(self, Page(run_id, len(self._entries)))
        elif attempts.tried < self.claimed.tries:
            self._host.fetch_page(self, Page(run_id, tried_after=attempts.last_tried))
        else:
            self._begin()

    def decline(self, why: str) -> None:
        """Give the run back in place of starting it."""
        self._stop_with(End(Move.RELEASE, why=why))

    def on_page(self, page: PageReply) -> None:
        """Take in a page of the journal, or of tries, that was asked for."""
        if self._over or self._end is not None:
            return
        if not page.entries and not page.attempts:
            self._stop_with(
                ends.blocked(f"its journal has {self.claimed.length} entries and ends at {len(self._entries)}")
            )
            return
        self._entries = self._entries + page.entries
        self._attempts.know(page.attempts)
        self.start()

    def on_page_refused(self, error: AikiError) -> None:
        """Block the run: what it came to so far cannot be brought here."""
        self._stop_with(ends.unreadable(error))

    def on_recorded(self, recorded: Recorded) -> None:
        """Take in what became of the unit in flight."""
        unit, self._flown = self._flown, None
        if self._over or unit is None:
            return
        match recorded.result:
            case "done":
                self._outbox.acknowledge()
                if unit.end is not None:
                    self._finish()
                else:
                    self._advance()
            case "refused":
                self._on_refused(unit, recorded.reason or "no reason given")
            case "conflict":
                self._on_conflict(unit)
            case "fenced":
                _logger.info("run %s was lost to another claim", self.fence.run_id)
                self.drop()

    def on_slot(self) -> None:
        """Go on after lingering."""
        self._wants_slot = False
        if self._lingering:
            self._lingering = False
            self._advance()

    def suspend(self) -> None:
        """Leave memory now, if the run lingers."""
        if self._lingering and not self._over:
            self._leave_for_later()
            self._flush()

    def drain(self) -> None:
        """Start no new try; end the claim once those that have begun have ended."""
        self._draining = True
        self._attempts.recall()
        if self._lingering:
            self._leave_for_later()
            self._flush()
        elif self._body is None:
            self._stop_with(End(Move.RELEASE))
        else:
            self._advance()

    def stop(self) -> None:
        """Give the run up now: cancel its tries, write what is there, release it."""
        self._draining = True
        if self._over or self._end is not None:
            return
        if self._attempts.running or self._attempts.waiting or self._next_wake() is None or not self._at_rest():
            self._attempts.recall()
            self._stop_with(End(Move.RELEASE))
        else:
            self._leave_for_later()
            self._flush()

    def drop(self) -> None:
        """Forget the run without a word: the claim is lost."""
        if not self._over:
            self._finish()

    # -- private: the body

    def _begin(self) -> None:
        claimed, workflow = self.claimed, self._workflow
        try:
            args, kwargs = workflow.parameters.decode(claimed.input)
        except AikiError as error:
            self._stop_with(ends.failed(error))
            return
        self._journal_bytes = sum(len(entry.key) + len(bytes(entry.value)) for entry in self._entries)
        journal, self._entries = Journal(self._entries), []
        body = self._body = Body(
            journal=journal,
            started_at=claimed.started_at,
            origin_id=claimed.origin_id,
            on_entry=self._on_entry,
            on_fault=self._on_fault,
        )
        run = body.loop.workflow_run = WorkflowRun(
            body,
            run_id=self.fence.run_id,
            origin_id=claimed.origin_id,
            workflow=claimed.workflow,
            version=claimed.version,
            input=claimed.input,
            idempotency_key=claimed.key,
            labels=claimed.labels,
        )
        body.begin(workflow.fn(run, *args, **kwargs))
        self._advance()

    def _advance(self) -> None:
        """Move everything that can move."""
        if self._advancing:
            self._again = True
            return
        if self._over or self._lingering or self._body is None:
            return
        self._advancing = True
        try:
            while True:
                self._again = False
                self._advance_once(self._body)
                if not self._again or self._over:
                    break
        except Exception as error:
            _logger.exception("run %s: a bug in aiki; the run is blocked", self.fence.run_id)
            self._stop_with(ends.blocked(f"a bug in aiki: {error!r}"))
        finally:
            self._advancing = False

    def _advance_once(self, body: Body) -> None:
        more = False
        attempts = self._attempts
        if self._stirred and self._end is None:
            self._stirred = False
            more = self._pump(body)
        if attempts.may_launch and self._end is None:
            attempts.launch(self._host.now(), draining=self._draining)
        if more and not self._draining:
            self._schedule()
        elif self._end is None and not self._again:
            self._rest(more)
        if self._again and self._end is None:
            return  # a task has ended already: what it leads to shall go into the same unit
        self._flush()
        self._set_alarm()

    def _pump(self, body: Body) -> bool:
        """Step the body; tell whether it wants to go on at once."""
        watchdog.begin(self._step)
        try:
            more = body.pump(self._host.now(), self._host.seconds)
        finally:
            watchdog.end()
        if more or self._step.spinning_from:
            self._step.paused(body.waiting_lines, more=more)
        for call in body.take_abandoned():
            call.kind.abandon(call, self._attempts)
        started = body.take_started()
        if started:
            now = self._host.now()
            for call in started:
                call.kind.start(call, self._attempts, now, announce=not self._draining)
        if body.outcome is not Outcome.RUNNING:
            self._end_with(ends.of_body(body, self._workflow, room=self._host.room()))
        elif self._too_large:
            self._end_with(ends.failed(ends.too_large(self._journal_length, self._journal_bytes)))
        elif not more and body.is_deadlocked():
            self._end_with(ends.deadlock(body))
        return more

    def _on_entry(self, entry: Entry) -> None:
        self._outbox.add(entry)
        length, size = self._journal_length, self._journal_bytes
        self._journal_length = length + 1
        self._journal_bytes = size + len(entry.key) + len(entry.value)
        if self._journal_length >= ENTRIES_HARD or self._journal_bytes >= JOURNAL_BYTES_HARD:
            self._too_large = True
        elif (length < ENTRIES_SOFT <= self._journal_length) or (size < JOURNAL_BYTES_SOFT <= self._journal_bytes):
            _logger.warning(
                "run %s: its journal has %d entries and %d bytes; a run fails at %d or %d: split its work",
                self.fence.run_id, self._journal_length, self._journal_bytes, ENTRIES_HARD, JOURNAL_BYTES_HARD,
            )  # fmt: skip

    def _on_fault(self, fault: str, details: str) -> None:
        _logger.warning("run %s: %s%s", self.fence.run_id, fault, details and f"\n{details}")

    # -- private: tasks

    def _on_outcome(self, call: TaskCall | None, ok: bool, value: bytes) -> None:
        """Take in a final outcome, or (without a call) that an attempt has failed."""
        body = self._body
        if self._over or self._end is not None or body is None:
            return
        if call is not None:
            self._stirred = True
            now = self._host.now()
            if now > self._last_at:
                self._last_at = now
            body.resolve(call, ok, value, self._last_at)
        if self._attempts.running:
            self._schedule()  # others may end in the same turn of the loop: deliver and record them together
        else:
            self._advance()

    def _schedule(self) -> None:
        self._stirred = True
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._advance_scheduled)

    def _advance_scheduled(self) -> None:
        self._scheduled = False
        self._advance()

    # -- private: rest, sleep and the end

    def _at_rest(self) -> bool:
        return self._body is not None and not self._scheduled and self._flown is None and not self._outbox

    def _next_wake(self) -> tuple[int, Move] | None:
        """Return when the run can move next by itself, and what it is waiting for until then."""
        timer = None if self._body is None else self._body.next_timer()
        retry = self._attempts.next_retry_at()
        if timer is not None and (retry is None or timer.when_us <= retry):
            return timer.when_us, Move.SLEEP
        return None if retry is None else (retry, Move.RETRY)

    def _rest(self, more: bool) -> None:
        """The body is at rest: if no task moves either, linger, leave memory, or give the claim up.

        With `more` (only while draining) it is not: it is far from its end, or goes round for ever.
        """
        attempts = self._attempts
        if attempts.running:
            if more:
                self._schedule()
            return
        if self._draining:
            attempts.recall()  # those that have come back since: they found the lease uncertain
            if more or attempts.waiting or self._next_wake() is None:
                self._end_with(End(Move.RELEASE))
            else:
                self._leave_for_later()
            return
        if attempts.waiting:
            return  # for a commit, or for the lease to be certain
        wake = self._next_wake()
        assert wake is not None, "a body at rest waits for something"
        seconds = (wake[0] - self._host.now()) / SECOND
        limit = self._settings.linger_seconds if wake[1] is Move.SLEEP else self._settings.inline_retry_seconds
        if seconds > limit:
            self._leave_for_later()
        elif seconds > 0 and self._flown is None and not self._outbox:
            self._lingering = True
            self._host.lingering(self)

    def _leave_for_later(self) -> None:
        """Suspend the run; what is not yet written goes along."""
        wake = self._next_wake()
        assert wake is not None, "a run that lingers waits for a date"
        self._end_with(End(wake[1], due_at=wake[0], why=self._attempts.why_due(wake[0])))

    def _set_alarm(self) -> None:
        """Have the loop call back when the next timer or retry is due."""
        if self._over or self._end is not None:
            return
        uncertain = self._attempts.uncertain and self._attempts.waiting
        wake = self._next_wake()
        when = None if wake is None else wake[0]
        if when is None and not uncertain:
            return
        now = self._host.now()
        if uncertain:
            poll = now + round(self._settings.lease_poll_seconds * SECOND)
            when = poll if when is None else min(when, poll)
        if when is None or (self._alarm is not None and self._alarm_at <= when):
            return  # an alarm that comes too early looks again
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._loop.call_later(max((when - now) / SECOND, _SHORTEST_ALARM), self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        if self._over or self._end is not None:
            return
        self._stirred = True
        if not self._lingering:
            self._advance()
        elif not self._wants_slot:
            self._wants_slot = True
            self._host.wants_slot(self)

    def _stop_with(self, end: End) -> None:
        """End the claim in this way, unless it is ending already, and write it."""
        if self._end is None and not self._over:
            self._end_with(end)
            self._flush()

    def _end_with(self, end: End) -> None:
        self._end = end
        self._lingering = False
        self._attempts.cancel_all()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _flush(self) -> None:
        """Send the next unit, if none is in flight and there is anything to say."""
        if self._flown is None and not self._over and (self._outbox or self._end is not None):
            self._flown = self._outbox.take(self.fence, self._end)
            self._host.record(self, self._flown)

    def _on_conflict(self, unit: Unit) -> None:
        """Give back a run whose journal holds another outcome than the body went on with: it is to be replayed."""
        _logger.warning("run %s: another outcome stands in its journal; it is replayed", self.fence.run_id)
        self._outbox.give_up(unit)
        if self._end is not None and self._end.move is Move.RELEASE:
            self.drop()
            return
        self._end = None
        self._stop_with(End(Move.RELEASE, why="another outcome stands in its journal"))

    def _on_refused(self, unit: Unit, reason: str) -> None:
        _logger.error("run %s: the daemon refused what it wrote: %s", self.fence.run_id, reason)
        self._outbox.give_up(unit)
        self._attempts.cancel_all()
        if self._end is not None and self._end.move is Move.FAIL and not unit.entries:
            self.drop()  # not even its failure can be written: the lease's end or a person decides
            return
        self._end = None
        self._stop_with(ends.failed(UsageError(f"what the run recorded was refused: {reason}")))

    def _finish(self) -> None:
        self._over = True
        self._end_with(End(Move.RELEASE) if self._end is None else self._end)
        if self._body is not None:
            for line in self._body.leave():
                _logger.error(
                    "run %s: its body cannot be unwound, it swallows every exception at %s", self.fence.run_id, line
                )
            self._body = None
        self._attempts.close()
        self._host.ended(self)
