"""Own what a worker says of its runs: that one starts, that a task failed and when it is tried again, that a run ends.

It says what is on record, as the units that were written tell it: nobody reads of an outcome that is lost after all.
Where nobody listens (the level INFO of the logger `aiki.runs` is off) a worker has no Talk, and pays one look a unit.
Where more happens than anybody reads it counts: one line a second, however many runs there are.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiki.core.keys import is_task, task_of
from aiki.core.moments import SECOND
from aiki.core.states import Move
from aiki.definitions import stored
from aiki.process.spans import spoken
from aiki.process.visible import one_line

if TYPE_CHECKING:
    from msgspec import Raw

    from aiki.wire.messages import Attempt, Claimed, End, Entry, Unit

LINES: Final = 20
"""What is said line by line in a second; beyond it is counted."""
FOLD_SECONDS: Final = 1.0
_REASON_CHARS: Final = 200

log = logging.getLogger("aiki.runs")


class Talk:
    """Says what happens, on the worker's loop. What goes wrong has lines of its own: success cannot crowd it out."""

    def __init__(self, now: Callable[[], int], say: Callable[[str], None] = log.info) -> None:
        """`now` is the database's time in microseconds."""
        self._now = now
        self._say = say
        self._usual = _Fold(say)
        self._troubles = _Fold(say)

    def began(self, claimed: Claimed) -> None:
        """Say that a run starts here, or goes on after it has left a worker."""
        again = claimed.claims > 1
        if self._usual.has_room("runs went on" if again else "runs started"):
            self._tell(claimed, "goes on" if again else "started")

    def recorded(self, claimed: Claimed, unit: Unit, *, parked: bool = True) -> None:
        """Say what a unit that is on record tells; a park may not hold, and then the run goes on."""
        for attempt in unit.attempts:
            self._tried(claimed, attempt)
        for entry in unit.entries:
            if not entry.ok and is_task(entry.key):
                self._gave_up(claimed, entry)
        if unit.end is not None and parked:
            self._ended(claimed, unit.end)

    def close(self) -> None:
        """Say what has been counted so far."""
        for fold in (self._usual, self._troubles):
            fold.close()

    # -- private

    def _tried(self, claimed: Claimed, attempt: Attempt) -> None:
        # Without a date it is no failure: that an `at_most_once` task begins, or that it did not.
        if attempt.next_at is None or not self._troubles.has_room("tries failed"):
            return
        wait = spoken((attempt.next_at - self._now()) / SECOND)
        tried = f"task {task_of(attempt.key)} failed at attempt {attempt.attempt}"
        self._tell(claimed, f"{tried}, again in {wait}: {_reason(attempt.error)}")

    def _gave_up(self, claimed: Claimed, entry: Entry) -> None:
        known = stored.read_failure(entry.value)
        if known is not None and known.type == CancelledError.__name__:
            if self._usual.has_room("tasks were cut off"):
                self._tell(claimed, f"task {task_of(entry.key)} was cut off by a cancel")
        elif self._troubles.has_room("tasks gave up"):
            self._tell(claimed, f"task {task_of(entry.key)} gave up: {_reason(entry.value)}")

    def _ended(self, claimed: Claimed, end: End) -> None:
        match end.move:
            case Move.COMPLETE if self._usual.has_room("runs completed"):
                self._tell(claimed, f"completed in {spoken((self._now() - claimed.started_at) / SECOND)}")
            case Move.SLEEP if self._usual.has_room("runs fell asleep"):
                assert end.due_at is not None
                self._tell(claimed, f"sleeps for {spoken((end.due_at - self._now()) / SECOND)}")
            case Move.WAIT if self._usual.has_room("runs went to wait"):
                self._tell(claimed, f"waits for {_short(', '.join(end.waits).replace(':', ' '))}")
            case Move.CANCEL if self._usual.has_room("runs were cancelled"):
                self._tell(claimed, f"is cancelled: {_short(end.why or '')}")
            case Move.FAIL if self._troubles.has_room("runs failed"):
                self._tell(claimed, f"failed: {_reason(end.error)}")
            case Move.DIVERGE | Move.OVERSIZE if self._troubles.has_room("runs were blocked"):
                self._tell(claimed, f"is blocked: {_short((end.why or '').partition(chr(10))[0])}")
            case _:
                pass  # counted; or it was given back, or waits for a try, of which all is said

    def _tell(self, claimed: Claimed, what: str) -> None:
        self._say(f"{claimed.workflow} {claimed.fence.run_id} {what}")


class _Fold:
    """Lets LINES a second pass; while there are more it counts them, and says the counts each second."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._counts: Counter[str] = Counter()
        self._began = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        """Set while it counts."""

    def has_room(self, kind: str) -> bool:
        """Tell whether one more of `kind` has a line of its own; else it is counted."""
        self._counts[kind] += 1
        if self._timer is not None:
            return False
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._began >= FOLD_SECONDS:
            self._began = now
            self._counts = Counter([kind])
        if self._counts.total() <= LINES:
            return True
        self._timer = loop.call_at(self._began + FOLD_SECONDS, self._tell)
        return False

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._say_counts()

    def _tell(self) -> None:
        """Say the counts; a second that had few lets the next one have its lines again."""
        is_busy = self._counts.total() > LINES
        self._say_counts()
        self._timer = asyncio.get_running_loop().call_later(FOLD_SECONDS, self._tell) if is_busy else None

    def _say_counts(self) -> None:
        if self._counts:
            self._say("within a second: " + ", ".join(f"{kind} {count:,}" for kind, count in self._counts.items()))
        self._counts = Counter()


def _reason(failure: Raw) -> str:
    known = stored.read_failure(failure)
    return "no reason on record" if known is None else _short(f"{known.type}: {known.message}")


def _short(text: str) -> str:
    shown = one_line(text[: _REASON_CHARS + 1])
    return shown if len(shown) <= _REASON_CHARS else f"{shown[:_REASON_CHARS]}…"
