"""Own which outcome reaches the body next, live and on replay.

Outcomes come one at a time, only when nothing in the body can move. While recorded entries are unconsumed only they
are delivered, in recorded order; live, what was ready first, the oldest outcome or the timer due first.

A body that never comes to rest (`while not done: await asyncio.sleep(0)`) would shut itself off from outcomes, so
after SPIN handles one is let in; its entry says after how many (`turns`), and replay does the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw

from aiki.execution.calls import CallTable
from aiki.execution.journal import Journal
from aiki.execution.kind import DurableCall
from aiki.execution.loop import RunLoop
from aiki.wire.messages import NULL, Entry

SPIN: Final = 1_000
"""Handles without rest before an outcome is let into a body that can still move."""
LIVELOCK: Final = 200_000
"""Handles without rest, on replay, beyond those that were recorded, after which the code has diverged."""
SLICE_HANDLES: Final = 250
"""How many are run between two looks at the time."""


class Diverged(Exception):
    """The body no longer asks for what its journal holds."""


class Deliveries:
    """The deliveries of one body. What is delivered for the first time goes to `on_entry`, which makes it durable."""

    __slots__ = ("_calls", "_decided", "_loop", "_on_entry", "_since_rest", "inbox", "journal", "live")

    def __init__(self, journal: Journal, calls: CallTable, loop: RunLoop, *, on_entry: Callable[[Entry], None]) -> None:
        self.journal = journal
        self.live = not journal.length
        """Whether anything has been delivered that was not in the journal.

        An entry is recorded after the body has gone on from it, so what follows the last one happened before, too.
        """
        self._calls = calls
        self._loop = loop
        self._on_entry = on_entry
        self.inbox: deque[tuple[int, DurableCall[Any], bool, bytes]] = deque()
        """Outcomes of started calls: when (this never goes back), of which call, whether it is a result, the value."""
        self._decided: dict[str, Entry | None] = {}
        self._since_rest = 0

    def decide(self, key: str, value: Raw) -> Entry | None:
        """Return what is recorded under `key`: by an earlier claim, or now, with `value`.

        None if other entries are still to come: then the run has been here without it, and goes on so.
        """
        if key not in self._decided:
            entry = self.journal.take(key)
            if entry is None and not self.journal.remaining:
                entry = Entry(key, True, value, self._loop.now_us)
                self._on_entry(entry)
            self._decided[key] = entry
        return self._decided[key]

    def run(self) -> None:
        """Run some of what is ready in the body: less than the whole if an outcome is to be let in."""
        since = self._since_rest
        calm = since <= SPIN - SLICE_HANDLES and not self.journal.remaining
        self._since_rest = since + self._loop.run_ready(SLICE_HANDLES if calm else self._handles_allowed())

    def deliver(self, now: int) -> bool:
        """Deliver one outcome if the body rests (or has spun long enough); tell whether to run it again.

        Raises Diverged. `now` decides which timers are due.
        """
        if self.journal.remaining:
            self._replay()
            return True
        if self._loop.ready and self._since_rest < SPIN:
            return True
        return self._deliver_live(now)

    def end(self) -> None:
        """Take in that the body has ended. Raises Diverged if it should have asked for more."""
        if self.journal.remaining and not self.journal.drop_unasked():
            raise Diverged(f"the body ended with {self.journal.remaining} recorded outcomes left")
        self.live = True  # a run ends once: what it comes to was not told before

    def may_start(self) -> bool:
        """Tell whether new calls may be let go: all that is recorded was asked for, and the body rests or has spun.

        Before that it may yet give a call up, or end. Where a slice of time was over says nothing of the body, and
        another replay would stop elsewhere.
        """
        return not self.journal.remaining and not (self._loop.ready and self._since_rest < SPIN)

    def can_come(self) -> bool:
        """Tell whether anything will be delivered without another outcome of a call."""
        return bool(self.inbox or self.journal.remaining) or self._loop.next_timer() is not None

    # -- private

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
                calls.close(call, entry.ok, entry.value)
            elif key in calls.gone:
                self._consume(index, entry)
            elif (timer := loop.pending_timer(key)) is not None:
                self._consume(index, entry)
                loop.fire(timer)
            else:
                continue
            return True
        return False

    def _consume(self, index: int, entry: Entry) -> None:
        self.journal.consume(index)
        self._since_rest = self._loop.repeats = 0
        self._loop.now_us = max(self._loop.now_us, entry.at)

    def _deliver_live(self, now: int) -> bool:
        """Deliver what was ready first: the oldest outcome or the timer due first; an outcome wins a tie."""
        loop, inbox, calls = self._loop, self.inbox, self._calls
        turns = self._since_rest if loop.ready else None
        timer = loop.next_timer() if loop.timers else None
        while inbox and (timer is None or inbox[0][0] <= timer.when_us):
            at, call, ok, value = inbox.popleft()
            if calls.open.get(call.key) is call:
                self._record(Entry(call.key, ok, Raw(value), max(at, loop.now_us), turns))
                calls.close(call, ok, value)
                return True
        if timer is not None and timer.when_us <= now:
            self._record(Entry(timer.key, True, NULL, max(timer.when_us, loop.now_us), turns))
            loop.fire(timer)
            return True
        return False

    def _record(self, entry: Entry) -> None:
        self.live = True
        self._since_rest = self._loop.repeats = 0
        self._loop.now_us = entry.at
        self._on_entry(entry)
