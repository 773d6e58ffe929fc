"""Own which outcome reaches the body next, live and on replay.

Outcomes come one at a time, only when nothing in the body can move. While recorded entries are unconsumed only they
are delivered, in recorded order; live, what was ready first: the oldest outcome, the arrivals that answer a call, or
the timer due first, which loses a tie.

While a call is open that arrivals answer, a timer is *asked*: of what came before it was due the worker may not have
heard yet. Until the answer is here the body does not move, for the timer's entry is the next if it fires.

A body that never comes to rest (`while not done: await asyncio.sleep(0)`) would shut itself off from outcomes, so
after SPIN handles one is let in; its entry says after how many (`turns`), and replay does the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from msgspec import Raw

from aiki.core.keys import kind_of
from aiki.execution.answers import Answer, Woken, first_answer, first_woken, holds_cancel, last_late_wake
from aiki.execution.arrivals import Arrivals
from aiki.execution.calls import CallTable
from aiki.execution.cancelling import Cancelling
from aiki.execution.journal import Journal
from aiki.execution.kind import DurableCall
from aiki.execution.kinds import UNASKED
from aiki.execution.kinds.cancel import cancelled, interrupted
from aiki.execution.kinds.start import started
from aiki.execution.loop import RunLoop
from aiki.execution.retrying import go_on
from aiki.execution.timers import Timer
from aiki.wire.messages import NULL, Entry, Retried, TimerAsk

SPIN: Final = 1_000
"""Handles without rest before an outcome is let into a body that can still move."""
LIVELOCK: Final = 200_000
"""Handles without rest, on replay, beyond those that were recorded, after which the code has diverged."""
SLICE_HANDLES: Final = 250
"""How many are run between two looks at the time."""
EARLY_US: Final = 20_000
"""After how long a timer is asked again for which it was too early: the worker's clock is ahead."""


class Diverged(Exception):
    """The body no longer asks for what its journal holds."""


class Gone(Diverged):
    """What an entry has taken can no longer be read, though the code asks for it."""


class Deliveries:
    """The deliveries of one body. What is delivered for the first time goes to `on_entry`, which makes it durable."""

    __slots__ = (
        *("_arrivals", "_calls", "_cancelling", "_cuts", "_decided", "_loop", "_not_before", "_on_ask"),
        *("_on_entry",),
        "_since_rest",
        *("asked", "delivered_bytes", "fires", "journal", "live", "outcomes"),
    )

    def __init__(
        self,
        journal: Journal,
        calls: CallTable,
        loop: RunLoop,
        arrivals: Arrivals,
        cancelling: Cancelling,
        *,
        retries: Sequence[Retried],
        on_entry: Callable[[Entry], None],
        on_ask: Callable[[TimerAsk], None],
    ) -> None:
        """`retries` are those in force, in the order of their cuts."""
        self.journal = journal
        self._cuts = deque(retries) if retries else None
        self.live = not (journal.length or retries)
        """Whether anything has been delivered that was not in the journal.

        An entry is recorded after the body has gone on from it, so what follows the last one happened before, too.
        """
        self._calls = calls
        self._loop = loop
        self._on_entry = on_entry
        self._arrivals = arrivals
        self._cancelling = cancelling
        self._on_ask = on_ask
        self.asked: tuple[Timer, Entry] | None = None
        """A timer that was asked: until it `fires`, or does not, the body must not move."""
        self.fires = False
        self._not_before = 0
        self.outcomes: deque[tuple[int, DurableCall[Any], bool, bytes]] = deque()
        """Outcomes of started calls: when (this never goes back), of which call, whether it is a result, the value."""
        self._decided: dict[str, Entry | None] = {}
        self._since_rest = 0
        self.delivered_bytes = 0
        """The keys and values of all that the body has been given."""

    def decide(self, key: str, value: Raw) -> Entry | None:
        """Return what is recorded under `key`: by an earlier claim, or now, with `value`.

        None if other entries are still to come, or its end: then the run has been here without it, and goes on so.
        """
        if key not in self._decided:
            entry = self.journal.take(key)
            if entry is None and not (self.journal.remaining or self.journal.is_over):
                entry = Entry(key, True, value, self._loop.now_us, None, self._loop.delivered)
                self._on_entry(entry)
            if entry is not None:
                self._loop.delivered += 1
                self.delivered_bytes += len(entry.key) + len(entry.value)
            self._decided[key] = entry
        return self._decided[key]

    def add_outcome(self, at: int, call: DurableCall[Any], ok: bool, value: bytes) -> None:
        """Take in the outcome of a started call, which was ready at this time, but not before the last one."""
        outcomes = self.outcomes
        if outcomes and outcomes[-1][0] > at:
            at = outcomes[-1][0]
        outcomes.append((at, call, ok, value))

    def run(self) -> None:
        """Run some of what is ready in the body: less than the whole if an outcome is to be let in."""
        since = self._since_rest
        calm = since <= SPIN - SLICE_HANDLES and not self.journal.remaining
        self._since_rest = since + self._loop.run_ready(SLICE_HANDLES if calm else self._handles_allowed())

    def deliver(self, now: int) -> bool:
        """Deliver one outcome if the body rests (or has spun long enough); tell whether to run it again.

        Raises Diverged. `now` decides which timers are due.
        """
        if self._cuts and (not self._loop.ready or self._since_rest >= SPIN):
            self._pass_cuts(self._cuts)
        if self._cancelling.has_kept and not self._loop.ready:
            self._release_kept()
            return True
        if self.journal.remaining:
            self._replay()
            return True
        if self._loop.ready and self._since_rest < SPIN:
            return True
        return self._deliver_live(now)

    def start_children(self, most: int | None = None) -> None:
        """Let the first `most` starts go that are held, or all: from here on they are on record."""
        family, loop = self._calls.family, self._loop
        if family is not None and family.held:
            turns = self._since_rest if loop.ready else None
            for calls, value in family.let_go(most):
                self._record(started(calls, value, loop.now_us, turns, loop.delivered, self._calls.called))
                turns = None if turns is None else 0

    def end(self) -> None:
        """Take in that the body has ended, with what it has started last. Raises Diverged if it should have asked more.

        Who has been given a child takes it for started.
        """
        while self.journal.remaining and self._deliver_recorded():
            pass
        self.start_children()
        if self.journal.remaining and not self.journal.drop_unasked():
            raise Diverged(f"the body ended with {self.journal.remaining} recorded outcomes left")
        self.live = True  # a run ends once: what it comes to was not told before

    def may_start(self) -> bool:
        """Tell whether new calls may be let go: all that is recorded was asked for, and the body rests or has spun.

        Before that it may yet give a call up, or end. Where a slice of time was over says nothing of the body, and
        another replay would stop elsewhere.
        """
        if self.is_cancelled or self.journal.remaining or self.asked or self._arrivals.is_partial:
            return False
        return not (self._cancelling.is_unwritten or (self._loop.ready and self._since_rest < SPIN))

    @property
    def spun(self) -> int:
        """How many handles it has run without rest since all that is recorded was delivered."""
        return 0 if self.journal.remaining else self._since_rest

    def answered(self, answer: Literal["done", "early", "news"], now: int) -> None:
        """Take in whether the timer that was asked fires; one that does is delivered before the body moves."""
        if answer == "done":
            self.fires = True
            return
        self.asked = None
        if answer == "early":
            self._not_before = now + EARLY_US

    def fire_asked(self) -> None:
        """Deliver the timer that was asked and fires: its entry is durable already."""
        assert self.asked is not None, "no timer was asked"
        (timer, entry), self.asked, self.fires = self.asked, None, False
        self._record(entry, is_durable=True)
        self._fire(timer, entry)

    def next_due(self) -> int | None:
        """Return when a timer is due next; None if none is, or replay decides what fires."""
        held_back = self.journal.remaining or self._cancelling.is_under_way
        timer = None if held_back else self._loop.timers.first()
        return None if timer is None else max(timer.when_us, self._not_before)

    def is_answered(self) -> bool:
        """Tell whether arrivals that are here answer an open call, end a sleep, or cancel the run."""
        if self._cancelling.is_under_way:
            return self._first_answer() is not None or not self._holds_cancel()
        return self.is_cancelled or self._first_answer() is not None or self._first_woken() is not None

    def can_come(self) -> bool:
        """Tell whether anything will be delivered without another outcome of a call."""
        return (
            self.is_cancelled or bool(self.outcomes or self.journal.remaining) or self._loop.timers.first() is not None
        )

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is cancelled, and its body has not heard of it."""
        cancelling = self._cancelling
        return cancelling.is_under_way or (self._arrivals.cancel is not None and cancelling.entry is None)

    @property
    def has_outcomes_alone(self) -> bool:
        """Whether nothing can come but outcomes of tries and timers: no arrival, and nothing of a cancel."""
        arrivals = self._arrivals
        if self._calls.is_waiting or arrivals.wakes:
            return False
        return arrivals.cancel is None and not self._cancelling.is_under_way

    # -- private

    def _pass_cuts(self, cuts: deque[Retried]) -> None:
        """Have time go on from the retries that cut where the body has come to rest."""
        while cuts and cuts[0].cut <= self._loop.delivered:
            go_on(cuts.popleft(), self._loop, self._calls.open.values())

    def _handles_allowed(self) -> int:
        since = self._since_rest
        allowed = SPIN - since if since < SPIN else 50
        front = self.journal.front() if self.journal.remaining else None
        if front is not None and front.turns is not None:
            allowed = max(0, min(allowed, front.turns - since))
        return min(allowed, SLICE_HANDLES)

    def _replay(self) -> None:
        front = self.journal.front()
        assert front is not None
        let_in = front.turns is not None and self._since_rest >= front.turns
        if self._since_rest > LIVELOCK + (front.turns or 0):
            raise Diverged("the body goes round without waiting for what is recorded")
        if (self._loop.ready and not let_in) or self._deliver_recorded():
            return
        if self._loop.ready:  # the code has changed: the recorded number of turns fits no longer
            self._since_rest += self._loop.run_ready(50)
        elif not self.journal.drop_unasked():
            raise Diverged("the body waits, and not for what is recorded")

    def _deliver_recorded(self) -> bool:
        """Deliver the first unconsumed entry that the code has asked for; an abandoned one is consumed silently."""
        calls, loop = self._calls, self._loop
        for index, entry in self.journal.unconsumed():
            if entry.turns is not None and loop.ready and self._since_rest < entry.turns:
                return False
            key = entry.key
            call = calls.open.get(key)
            if call is not None:
                self._consume(index, entry)
                self._take_again(call, entry)
                self._settle(call, entry.ok, entry.value)
            elif key in calls.gone:
                self._consume(index, entry)
            elif (timer := loop.timers.pending(key)) is not None:
                self._consume(index, entry)
                loop.fire(timer)
            elif (kind := UNASKED.get(kind_of(key))) is not None and kind.is_next(entry, calls.family):
                self._consume(index, entry)
                kind.deliver(entry, self._cancelling, calls.family)
            else:
                continue
            return True
        return False

    def _take_again(self, call: DurableCall[Any], entry: Entry) -> None:
        """Have a call that arrivals have answered take in what an earlier claim took for it."""
        kind = self._calls.kind_of(call)
        if kind is not None and not kind.took(call, entry.ok, entry.value, self._calls.family):
            raise Gone(f"what entry {entry.key} has taken is no longer in the run's inbox: it cannot be replayed")

    def _consume(self, index: int, entry: Entry) -> None:
        self.journal.consume(index)
        self._since_rest = self._loop.repeats = 0
        self._loop.delivered += 1
        self.delivered_bytes += len(entry.key) + len(entry.value)
        self._loop.now_us = max(self._loop.now_us, entry.at)

    def _deliver_live(self, now: int) -> bool:
        """Deliver what was ready first: an outcome, arrivals or a timer, of which it is the last in a tie."""
        loop, arrivals = self._loop, self._arrivals
        turns = self._since_rest if loop.ready else None
        if not loop.timers and self.has_outcomes_alone:
            return bool(self.outcomes) and self._deliver_outcome(turns, until=None)
        timer = loop.timers.first() if loop.timers else None
        answer = self._first_answer() if self._calls.is_waiting else None
        woken = self._first_woken() if arrivals.wakes else None
        if self.is_cancelled:
            due = None if timer is None or timer.when_us > now else timer.when_us
            others = (due, None if answer is None else answer.at, None if woken is None else woken.arrival.at)
            if self._deliver_cancel(now, turns, answer, others):
                return True
            if self._cancelling.is_under_way:
                return False
        until = None if timer is None else timer.when_us
        if answer is not None:
            until = answer.at if until is None else min(answer.at, until)
        if woken is not None:
            until = woken.arrival.at if until is None else min(woken.arrival.at, until)
        if self._deliver_outcome(turns, until):
            return True
        if woken is not None and until == woken.arrival.at:
            self._wake(woken, turns)
            return True
        if answer is not None and (timer is None or answer.at <= timer.when_us):
            self._take(answer, turns)
            return True
        return timer is not None and timer.when_us <= now and self._deliver_timer(timer, turns, now)

    def _deliver_outcome(self, turns: int | None, until: int | None) -> bool:
        """Deliver the oldest outcome of a try, if it came by then; tell whether there was one."""
        outcomes, calls, loop = self.outcomes, self._calls, self._loop
        while outcomes and (until is None or outcomes[0][0] <= until):
            at, call, ok, value = outcomes.popleft()
            if calls.open.get(call.key) is call:
                takes = self._arrivals.take_words(call.key) if self._arrivals.words else ()
                self._record(call.entry(ok, value, max(at, loop.now_us), turns, takes))
                calls.close(call, ok, value)
                return True
        return False

    def _deliver_cancel(self, now: int, turns: int | None, answer: Answer | None, others: Sequence[int | None]) -> bool:
        """Deliver what is next of a cancel; tell whether it was: not if one of the `others` came before it.

        Starts that are held go before it, into its unit, and so are told of it, too. Once it is delivered outcomes of
        tries and ends of children are recorded and kept back, and nothing else is delivered before the interruption.
        """
        loop, outcomes, cancelling = self._loop, self.outcomes, self._cancelling
        while outcomes and (self._calls.open.get((call := outcomes[0][1]).key) is not call or cancelling.keeps(call)):
            outcomes.popleft()
        if cancelling.entry is None:
            arrival = self._arrivals.cancel
            assert arrival is not None, "nothing has cancelled the run"
            if any(at is not None and at < arrival.at for at in (outcomes[0][0] if outcomes else None, *others)):
                return False
            self.start_children()
            entry = cancelled(arrival, max(arrival.at, loop.now_us), turns, loop.delivered)
            self._record(entry)
            cancelling.record(entry)
        elif answer is not None and not (outcomes and outcomes[0][0] < answer.at):
            self._take(answer, turns)
        elif outcomes:
            at, call, ok, value = outcomes.popleft()
            takes = self._arrivals.take_words(call.key) if self._arrivals.words else ()
            self._record(call.entry(ok, value, max(at, loop.now_us), turns, takes))
            self._settle(call, ok, value)
        elif cancelling.tries.may_be_left(now) and not self._holds_cancel():
            self._record(interrupted(max(now, loop.now_us), turns, loop.delivered))
            cancelling.interrupt()
        else:
            return False
        return True

    def _settle(self, call: DurableCall[Any], ok: bool, value: bytes | Raw) -> None:
        """Give a recorded outcome to the body, or keep it back while a cancel is under way."""
        if self._cancelling.is_under_way:
            self._cancelling.keep(call, ok, value)
            self._calls.remember(call, ok, value)
            if call.child is not None:
                self._calls.wait_no_more(call)
        else:
            self._calls.close(call, ok, value)

    def _release_kept(self) -> None:
        """Give the body what the interruption did not reach."""
        for call, ok, value in self._cancelling.release():
            if self._calls.open.get(call.key) is call:
                self._calls.close(call, ok, value)

    def _first_answer(self) -> Answer | None:
        return first_answer(self._calls, self._arrivals, self._cancelling)

    def _first_woken(self) -> Woken | None:
        return first_woken(self._arrivals, self._loop.timers)

    def _holds_cancel(self) -> bool:
        return holds_cancel(self._calls, self._arrivals, self._cancelling)

    def _wake(self, woken: Woken, turns: int | None) -> None:
        arrival, timer = woken
        numbers = self._arrivals.take_wakes(arrival)
        at = max(arrival.at, self._loop.now_us)
        self._record(Entry(timer.key, True, NULL, at, turns, timer.asked, numbers, timer.began_us))
        self._loop.fire(timer)

    def _take(self, answer: Answer, turns: int | None) -> None:
        call = answer.call
        ok, value, taken = answer.kind.take(call, answer.arrived, self._arrivals.room())
        numbers = tuple(arrival.number for arrival in taken)
        at = max(answer.at, self._loop.now_us)
        self._arrivals.consume(taken)
        self._record(call.entry(ok, value, at, turns, numbers))
        answer.kind.took(call, ok, value, self._calls.family)
        self._settle(call, ok, value)

    def _deliver_timer(self, timer: Timer, turns: int | None, now: int) -> bool:
        """Deliver a timer that is due, or ask; tell whether it was delivered."""
        asked = self._calls.open[timer.key].asked if timer.is_timeout else timer.asked
        at = max(timer.when_us, self._loop.now_us)
        entry = Entry(timer.key, not timer.is_timeout, NULL, at, turns, asked, (), timer.began_us)
        if not self._calls.is_waiting:
            self._record(entry)
            self._fire(timer, entry)
            return True
        if not self._arrivals.behind and now >= self._not_before:
            self.asked = timer, entry
            self._on_ask(TimerAsk(entry, timer.when_us, self._arrivals.seen))
        return False

    def _fire(self, timer: Timer, entry: Entry) -> None:
        if timer.is_timeout:
            self._calls.close(self._calls.open[timer.key], entry.ok, entry.value)
        else:
            self._loop.fire(timer)

    def _record(self, entry: Entry, *, is_durable: bool = False) -> None:
        """Take in that an entry is delivered for the first time."""
        self.live = True
        self._since_rest = self._loop.repeats = 0
        self._loop.delivered += 1
        self.delivered_bytes += len(entry.key) + len(entry.value)
        self._loop.now_us = entry.at
        if not is_durable:
            if self._arrivals.wakes and not entry.takes:
                self._take_late_wakes(entry)
            self._on_entry(entry)

    def _take_late_wakes(self, entry: Entry) -> None:
        """Have an entry take the wakes that came when nothing slept: what sleeps from here on has begun after them."""
        last = last_late_wake(self._arrivals, self._loop.timers, entry.at)
        if last is not None:
            entry.takes = self._arrivals.take_wakes(last)
