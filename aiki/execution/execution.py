"""Own one claimed run from its claim to its end: the body, its tasks, and what is written about both.

Record and proceed: an outcome goes to the body as soon as its entry is in the outbox, and the next step that the
world can see (starting a task, suspending, ending) waits until everything before it is durable. One unit is in flight
at a time; what comes about meanwhile travels in the next one. So K tasks in a row cost K commits, and the last task's
entry and the completion share one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from aiki.core.errors import AikiError
from aiki.core.states import TERMINAL, Move, target
from aiki.execution import ends
from aiki.execution.again import end_of
from aiki.execution.arrivals import Arrivals
from aiki.execution.beginning import begin
from aiki.execution.body import Body
from aiki.execution.kind import Outside
from aiki.execution.letting import let_go, send, take_back
from aiki.execution.looking import look
from aiki.execution.outbox import Outbox
from aiki.execution.outcome import Outcome
from aiki.execution.phases import Happening, Lifecycle, Phase
from aiki.execution.reading import Reading
from aiki.execution.resting import Moving, Rest, Wake, decide
from aiki.execution.sharing import Sharing
from aiki.execution.tasks.attempts import Attempts
from aiki.execution.turns import Turns
from aiki.execution.waiting import alarm_at, awaits_tries_alone, awaits_word, next_wake, what_moves
from aiki.execution.watchdog import Step, watchdog
from aiki.wire.limits import LOOKED_ITEMS
from aiki.wire.messages import Claimed, End, Fence, InboxReply, PageReply, Recorded, SendOp, StartOp, StopOp, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiki.definitions.workflow import Workflow
    from aiki.execution.bounds import Limits
    from aiki.execution.host import Host
    from aiki.execution.kind import TaskCall
    from aiki.execution.lease import Lease
    from aiki.execution.tasks.bench import Bench
    from aiki.wire.messages import Arrival, Looked

_logger: Final = logging.getLogger("aiki.execution")
_READS: Final = (Phase.LIVE, Phase.LINGERING, Phase.RETURNING)
"""Where what reaches the run is read at once; while its claim ends that waits for what becomes of it."""


class Execution:
    """A run that this worker has claimed. All methods are called on the worker's loop."""

    __slots__ = (
        *("_arrivals", "_attempts", "_body", "_host", "_life", "_limits", "_outbox", "_outside"),
        *("_reading", "_sharing", "_turns", "_workflow", "claimed", "fence"),
    )

    def __init__(
        self, claimed: Claimed, workflow: Workflow[Any, Any], host: Host, *, bench: Bench, limits: Limits
    ) -> None:
        """`bench` holds the lease of the session by which the run was claimed: its tasks begin under no other."""
        self.claimed = claimed
        self.fence: Fence = claimed.fence
        self._workflow = workflow
        self._host = host
        self._limits = limits
        self._life = Lifecycle()
        self._turns = Turns(
            bench.loop, Step(claimed.fence.run_id, limits.slow_step_seconds), step=self._step, wake=self._wake
        )
        self._outbox = Outbox(claimed.length, limits)
        self._reading: Reading | None = Reading(claimed)
        self._body: Body | None = None
        attempts = self._attempts = Attempts(
            bench, claimed, outbox=self._outbox, on_outcome=self._on_outcome, on_last_end=self._on_last_end
        )
        self._arrivals = Arrivals(claimed, host.room)
        sharing = self._sharing = Sharing(claimed, attempts, self._outbox, self._arrivals, on_outcome=self._on_outcome)
        self._outside = Outside(
            attempts.admit, attempts.cancel, sharing.share, sharing.give_up, self._send, self._arrivals
        )

    def __repr__(self) -> str:
        return f"<Execution of {self.claimed.workflow} {self.fence.run_id}>"

    @property
    def lease(self) -> Lease:
        """The lease of the session by which it was claimed."""
        return self._attempts.lease

    @property
    def trying(self) -> int:
        """How many tries of its tasks run now."""
        return self._attempts.running

    # -- called by the worker

    def look(self, items: int = LOOKED_ITEMS) -> Looked:
        """Return what of it stands in memory; of many tries and calls the first."""
        is_at_rest = self._life.phase in (Phase.LIVE, Phase.LINGERING)
        wake = self._next_wake() if is_at_rest else None
        return look(self._life, self._body, self._attempts, wake, self._host.now(), items=items)

    def start(self) -> None:
        """Read the rest of the journal if there is more, then run the body as far as it goes."""
        reading = self._reading
        assert reading is not None, "a run begins once"
        page = reading.next_page()
        if page is not None:
            self._host.fetch_page(self, page)
        elif (after := reading.next_ends()) is not None:
            self._host.read_ends(self, after)
        else:
            self._begin(reading)

    def decline(self, why: str) -> None:
        """Give the run back in place of starting it."""
        self._stop_with(End(Move.RELEASE, why=why))

    def on_page(self, page: PageReply) -> None:
        """Take in a page of the journal, or of tries, that was asked for."""
        reading = self._reading
        if self._life.phase is not Phase.READING or reading is None:
            return
        if reading.take(page):
            self.start()
        else:
            self._stop_with(ends.cut_short(self.claimed, len(reading.entries)))

    def on_ends(self, reply: InboxReply) -> None:
        """Take in ends of children that were asked for."""
        reading = self._reading
        if self._life.phase is Phase.READING and reading is not None:
            reading.take_ends(reply)
            self.start()

    def on_page_refused(self, error: AikiError) -> None:
        """Block the run: what it came to so far cannot be brought here."""
        self._stop_with(ends.unreadable(error))

    def on_recorded(self, recorded: Recorded) -> None:
        """Take in what became of the unit in flight."""
        life, unit = self._life, self._outbox.in_flight
        if life.phase is Phase.OVER or unit is None:
            return
        match recorded.result:
            case "done":
                self._on_done(unit, recorded)
            case "refused":
                reason = recorded.reason or "no reason given"
                _logger.error("run %s: the daemon refused what it wrote: %s", self.fence.run_id, reason)
                self._end_otherwise(ends.refused(unit, life.end, reason))
            case "conflict":
                _logger.warning("run %s: its journal or inbox holds something else; it is replayed", self.fence.run_id)
                self._end_otherwise(ends.conflicting(life.end))
            case "fenced":
                _logger.info("run %s was lost to another claim", self.fence.run_id)
                self.drop()

    def on_news(self, number: int, came: Sequence[Arrival] = ()) -> None:
        """Take in that arrivals up to this number have come, or that something is wanted of the run.

        The last that `came` may be here, in order: then nothing need be read, if all before it was.
        """
        self._arrivals.hear(number)
        if came and self._arrivals.follow(came):
            self._on_arrived()
        self._catch_up()  # it may have seen them: what it has not taken is named again by each renewal

    def on_inbox(self, reply: InboxReply) -> None:
        """Take in what has come, and do what is wanted; news that came meanwhile is read as well."""
        self._arrivals.read(reply)
        life = self._life
        if reply.wanted is not None:
            life.draining = True  # a park in flight that does not hold gives the claim back, too
            if life.is_open:
                self.drain()  # how its claim ends then is the daemon's affair: it is paused
        self._catch_up()
        self._on_arrived()

    def on_doubt(self) -> None:
        """Find out whether the run has ended without its worker: whose inbox is gone is dropped."""
        if self._outbox.in_flight is None:  # else the answer says so
            self._catch_up(is_doubted=True)

    def _on_arrived(self) -> None:
        """Go on, if what has come moves the run."""
        life, body = self._life, self._body
        if life.phase is Phase.LIVE:
            self._turns.schedule()
        elif life.phase is Phase.LINGERING and body is not None and (body.is_answered() or self._sharing.is_told):
            life.move(Happening.WAKE)
            self._host.wants_slot(self)

    def on_slot(self) -> None:
        """Go on after lingering."""
        self._life.move(Happening.SLOT)
        self._turns.schedule()  # not in here, where another run may be ending, in the handler of its error

    def suspend(self) -> None:
        """Leave memory now, if the run lingers."""
        if self._life.phase in (Phase.LINGERING, Phase.RETURNING):
            self._leave(self._next_wake())
            self._flush()

    def drain(self) -> None:
        """Start no new try; end the claim once those that have begun have ended."""
        life = self._life
        life.draining = True
        self._attempts.recall()
        if life.phase is Phase.READING:
            self._stop_with(End(Move.RELEASE))
        elif life.phase is Phase.LIVE:
            self._turns.take()
        else:
            self.suspend()

    def stop(self) -> None:
        """Give the run up now: cancel its tries, write what is there, release it."""
        life, attempts = self._life, self._attempts
        life.draining = True
        self._sharing.hurry()
        if not life.is_open:
            if life.phase is Phase.ENDING:
                self._flush()
            return
        attempts.recall()
        wake = self._next_wake()
        is_moving = attempts.running or attempts.waiting or self._turns.is_scheduled or not self._outbox.is_settled
        is_moving = is_moving or self._sharing.is_ready
        if life.phase is Phase.READING or wake is None or is_moving:
            self._stop_with(End(Move.RELEASE))
        else:
            self._leave(wake)
            self._flush()

    def drop(self) -> None:
        """Forget the run without a word: the claim is lost."""
        if self._life.phase is not Phase.OVER:
            self._finish()

    # -- private: the body

    def _begin(self, reading: Reading) -> None:
        self._reading = None
        begun = begin(
            self.claimed, self._workflow, reading, arrivals=self._arrivals, attempts=self._attempts, outbox=self._outbox
        )
        if isinstance(begun, BaseException):
            self._stop_with(ends.failed(begun))
            return
        self._body = begun
        self._life.move(Happening.BEGIN)
        self._turns.take()
        self._catch_up()

    def _step(self) -> None:
        """Move everything that can move, and write what has come of it."""
        life, turns, body, outbox = self._life, self._turns, self._body, self._outbox
        if life.phase is not Phase.LIVE or body is None:
            return
        try:
            now = self._host.now()
            more = False
            if turns.stirred:
                turns.stirred = False
                more = self._pump(body, now)
            if life.end is None:
                attempts = self._attempts
                if attempts.is_ready(now) and not (life.draining or body.is_cancelled):
                    attempts.launch(now)
                if turns.again:  # a task has ended already: what it leads to shall go into the same unit
                    turns.stirred = turns.stirred or more
                    return
                self._rest(now, more=more)
            if outbox.added != outbox.sent or life.end is not None:
                self._flush()
        except Exception as error:
            _logger.exception("run %s: a bug in aiki; the run is blocked", self.fence.run_id)
            self._stop_with(ends.blocked(f"a bug in aiki: {error!r}"))

    def _pump(self, body: Body, now: int) -> bool:
        """Step the body; tell whether it wants to go on at once."""
        step, outbox, outside, sharing = self._turns.watched, self._outbox, self._outside, self._sharing
        watchdog.begin(step)
        try:
            more = body.pump(now, self._host.seconds)
        finally:
            watchdog.end()
        if more or step.spinning_from:
            step.paused(body.waiting_lines, more=more)
        if sharing.has_any:
            sharing.take_in()
        if take_back(body, outside):  # the interruption has waited for its try, and nothing else may come any more
            self._turns.stirred = self._turns.again = True
        let_go(body, outbox, self._life, outside, now)
        if sharing.has_any and not (self._life.draining or body.is_cancelled):
            sharing.ask()
        if not more and (said := body.shown) is not None:  # behind the starts: these do not wait for it
            outbox.show(said, now)
        if body.outcome is not Outcome.RUNNING:
            self._end_with(end_of(body, self._workflow, outbox, now, room=self._host.room()))
        elif (outbox.is_large and outbox.is_too_large()) or (not more and body.is_deadlocked()):
            self._end_with(ends.stuck(body, outbox, self._limits))
        if outbox.is_large and outbox.is_to_be_warned_of():
            _logger.warning("run %s: %s", self.fence.run_id, ends.near(outbox, self._limits))
        return more

    def _send(self, op: SendOp | StartOp | StopOp) -> None:
        send(op, self._body, self._outbox, self._life)

    def _on_outcome(self, call: TaskCall | None, ok: bool, value: bytes) -> None:
        """Take in a final outcome, or (without a call) that an attempt has failed."""
        body, turns = self._body, self._turns
        if body is None or self._life.phase is not Phase.LIVE:
            return
        if call is not None:
            turns.stirred = True
            body.resolve(call, ok, value, self._host.now())
        if self._attempts.running:
            turns.schedule()  # others may end in the same turn of the loop: deliver and record them together
        else:
            turns.take()

    def _on_last_end(self, key: str) -> None:
        """Take in that no try of a call runs any more that was given up: its key may be given back."""
        self._sharing.on_last_end(key)
        if self._life.phase is Phase.LIVE:
            self._turns.schedule()
        else:
            self._flush()

    # -- private: rest and sleep

    def _next_wake(self) -> Wake | None:
        return next_wake(
            *(self._body, self._attempts, self._sharing),
            lambda: self._life.resting_since(self._outbox.length, self._host.now),
        )

    def _rest(self, now: int, *, more: bool) -> None:
        """Do what is to be done now that the body has been run as far as it goes; with `more` it wants a turn again."""
        attempts, outbox, life, body = self._attempts, self._outbox, self._life, self._body
        if not (more or life.draining) and awaits_tries_alone(body, attempts):
            return
        if life.draining and not attempts.running:
            attempts.recall()  # those that have come back since: they found the lease uncertain
        moving = what_moves(attempts, self._sharing, more=more, holds_back=life.holds_back)
        awaits = awaits_word(body, self._arrivals, self._sharing)
        if awaits and moving is Moving.NOTHING:
            return
        wake = self._next_wake()
        unwritten = outbox.added != outbox.durable
        rest = decide(moving, wake, now, draining=life.draining, unwritten=unwritten, limits=self._limits)
        if rest is Rest.GO_ON:
            self._turns.schedule()
        elif rest is Rest.RELEASE:
            self._end_with(End(Move.RELEASE))
        elif rest is Rest.LEAVE and not self._arrivals.behind:  # else no park holds before that is read
            self._leave(wake)
        elif rest is Rest.LINGER:
            life.move(Happening.REST)
            self._host.lingering(self)
        if (wake is not None or attempts.uncertain) and life.end is None:
            self._set_alarm(None if awaits else wake)

    def _set_alarm(self, wake: Wake | None) -> None:
        now = self._host.now()
        at = alarm_at(wake, self._attempts, now, self._limits)
        if at is not None:
            self._turns.set_alarm(at, now)

    def _wake(self) -> None:
        life = self._life
        if life.phase is Phase.LIVE:
            self._turns.take()
        elif life.phase is Phase.LINGERING:
            wake, now = self._next_wake(), self._host.now()
            if wake is not None and wake.move is Move.WAIT and (wake.at is None or wake.at > now):
                rest = decide(Moving.NOTHING, wake, now, draining=False, unwritten=False, limits=self._limits)
                if rest is Rest.LEAVE:  # it has waited for an arrival for long enough
                    self.suspend()
                else:
                    self._set_alarm(wake)
            else:
                life.move(Happening.WAKE)
                self._host.wants_slot(self)
        else:
            self._flush()

    def _leave(self, wake: Wake | None) -> None:
        """Suspend the run; what is not yet written goes along."""
        body = self._body
        assert wake is not None, "a run that leaves memory waits for something"
        assert body is not None, "it has begun"
        why = None if wake.at is None else self._attempts.why_due(wake.at)
        self._end_with(ends.parked(wake, body, self._workflow, self._sharing, seen=self._arrivals.seen, why=why))

    def _catch_up(self, *, is_doubted: bool = False) -> None:
        """Read what is said to have come and was not seen."""
        if (self._arrivals.behind or is_doubted) and self._life.phase in _READS:
            after = self._arrivals.next_read()
            if after is not None:
                self._host.read_inbox(self, after)

    # -- private: the end

    def _stop_with(self, end: End) -> None:
        """End the claim in this way, unless it is ending already, and write it."""
        if self._life.is_open:
            self._end_with(end)
            self._flush()

    def _end_with(self, end: End) -> None:
        # One that is to be tried again may not be: then it fails, in the commit that says so.
        is_heard = target(end.move) in TERMINAL or end.move is Move.AGAIN
        end.parent = self.claimed.parent is not None and is_heard
        self._life.decide(end)
        if end.seen is None:  # else it may go on: tries that are due later are forgotten when the claim is over
            self._attempts.cancel_all()
            self._sharing.end()
        self._turns.stop_alarm()

    def _flush(self) -> None:
        """Send the next unit, if none is in flight and there is anything to say.

        A claim ends only when no try runs for a key that other runs wait for, or the grace of these is over.
        """
        life = self._life
        if life.end is not None and (until := self._sharing.left_until) is not None:
            now = self._host.now()
            if now < until:
                self._turns.set_alarm(until, now)
                return
        unit = self._outbox.send(self.fence, self._life.end)
        if unit is not None:
            self._host.record(self, unit)

    def _on_done(self, unit: Unit, recorded: Recorded) -> None:
        life, body = self._life, self._body
        self._outbox.acknowledge(fired=recorded.timer == "done")
        if recorded.timer is not None and body is not None:
            body.answered(recorded.timer, self._host.now())
            self._turns.stirred = True
        if body is not None and body.awaits_commit and body.written(unit.entries):
            self._turns.stirred = True
        if recorded.news:
            self._arrivals.hear(recorded.news)
        if unit.keys:
            self._sharing.answered(unit.keys, recorded.keys, self._host.now())
            self._turns.stirred = True
        if unit.end is not None:
            if recorded.parked:
                self._finish()
            else:
                self._go_on()
        elif life.phase is Phase.ENDING:
            self._flush()
        else:
            self._turns.take()
        if recorded.news:
            self._catch_up()

    def _go_on(self) -> None:
        """Go on in place of leaving memory: something has come that the run has not seen."""
        self._turns.stirred = True
        has_slot = self._life.go_on()
        if self._life.draining:
            self._stop_with(End(Move.RELEASE))
        elif has_slot:
            self._turns.take()
        else:
            self._host.wants_slot(self)

    def _end_otherwise(self, end: End | None) -> None:
        """End the claim in this way, since what it wrote was not taken; without one forget the run."""
        self._outbox.give_up()
        if end is None:
            self.drop()
        else:
            self._end_with(end)
            self._flush()

    def _finish(self) -> None:
        self._life.move(Happening.GONE)
        self._attempts.close()
        self._sharing.close()
        self._turns.close()
        if self._body is not None:
            for line in self._body.leave():
                _logger.error("run %s: %s", self.fence.run_id, ends.stubborn(line))
            self._body = None
        del self._outside  # it leads back here: a run that is over leaves memory without a search for circles
        self._host.ended(self)
