"""Own one call of a task that was let go: the try of it that is made or due next, and what is known of those before."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from msgspec import Raw

from aiki.wire.messages import NULL, Attempt, Failure

if TYPE_CHECKING:
    from aiki.execution.kind import TaskCall
    from aiki.execution.tasks.signs import Signs
    from aiki.execution.tasks.tries import Try


class Tries(Protocol):
    """The run's calls, as one of them speaks to them."""

    def wait_again(self, started: Started) -> None:
        """Let a call go once more, when it may be: its try has not begun."""
        ...

    def said(self, started: Started) -> None:
        """Put on record what a try has said, without a word of how it ends."""
        ...

    def tried(self, started: Started, result: bytes | BaseException) -> None:
        """Take in how a try ended."""
        ...

    def outlived(self, started: Started) -> None:
        """Take in that a try has ended by now that was given up, or reported, before its body had."""
        ...


class Started:
    """A call that was let go, and the attempt that is made or due next."""

    __slots__ = (
        *("_tries", "announced", "before", "call", "ends_by", "failed", "is_over", "is_shown", "need", "number"),
        *("permit", "said", "said_at", "signs", "trying"),
    )

    def __init__(self, tries: Tries, call: TaskCall, number: int, need: int, before: int) -> None:
        self._tries = tries
        self.call = call
        self.is_over = False
        """Nobody waits for it any more, or it has its outcome."""
        self.number = number
        """The attempt, counted from 1."""
        self.before = before
        """So many of them were made before the run was retried, and count no more."""
        self.need = need
        """The outbox count that must be durable before it starts."""
        self.announced = False
        """Its start is on record: an `at_most_once` task that must now run or be taken back."""
        self.permit: threading.Event | None = None
        """What its try waits for, that has all it needs to begin."""
        self.trying: Try | None = None
        self.failed: Failure | None = None
        """What the last try failed with; None if there was none under this claim."""
        self.ends_by: int | None = None
        """When the grace of its try is over, if that was told to end."""
        self.signs: Signs
        """Those of the try that runs, or ran last."""
        self.said: bytes | None = None
        """What its tries have said last, as far as it is on record or on its way there."""
        self.said_at: int | None = None
        self.is_shown = False
        """The try that runs has said something: readers see it."""

    @property
    def gives_leave(self) -> bool:
        """Whether its start has to be put on record once a thread or child is there for it."""
        return self.call.ask.task.at_most_once and not self.announced

    def on_ready(self, permit: threading.Event) -> None:
        """Take in that a try has its thread or child: from here on it is let go like any other."""
        self.permit = permit
        self._tries.wait_again(self)

    def on_said(self) -> None:
        """Take in that a try has said something."""
        self._tries.said(self)

    def on_end(self, result: bytes | BaseException) -> None:
        """Take in how a try ended."""
        self._tries.tried(self, result)

    def on_late_end(self) -> None:
        """Take in that the body of a try has ended by now that was given up, or was too late."""
        self._tries.outlived(self)

    def on_begin(self, now: int) -> None:
        """Take in, in the thread of a try, when its body begins."""
        self.call.started_at = now

    def row(self, error: Raw, next_at: int | None, now: int, told: Raw) -> Attempt:
        """Return its row beside the log, with what was said by `now`, and what is `told` of its arguments."""
        if self.signs.said is not self.said:
            self.said, self.said_at = self.signs.said, now
        said = NULL if self.said is None else Raw(self.said)
        call = self.call
        return Attempt(call.key, self.number, error, next_at, said, self.said_at, call.started_at, told)
