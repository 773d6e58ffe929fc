"""Own what a run has still to make durable, in order: what waits, the unit in flight, and how much it all comes to.

One unit is in flight at a time; what comes about meanwhile travels in the next one. How much fits a message is for
whoever sends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki.core.keys import DETAILS
from aiki.wire.messages import (
    UNDER_WAY,
    Attempt,
    End,
    Entry,
    Fence,
    KeyAsk,
    SendOp,
    StartOp,
    StopOp,
    TimerAsk,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msgspec import Raw

    from aiki.execution.bounds import Limits


class Outbox:
    """Entries, attempts and ops in the order in which they came about, and a timer that is asked after them.

    `added`, `sent` and `durable` count them: what must not happen before everything added so far is durable waits
    until `durable` has reached the `added` of now.
    """

    __slots__ = (
        *("_attempts", "_given", "_is_labelled", "_is_warned_of", "_labels", "_limits", "_ops", "_owned", "_shown"),
        *("_shows", "_started", "_timer"),
        *("added", "base", "durable", "in_flight", "is_large", "length", "sent", "size", "unsent"),
    )

    def __init__(self, base: int, limits: Limits) -> None:
        """`base` is the number of entries that the journal holds already."""
        self._limits = limits
        self.base = base
        self.length = base
        """Entries in the journal and here, together."""
        self.size = 0
        """The bytes of their keys and values."""
        self.added = 0
        self.sent = 0
        self.durable = 0
        self.in_flight: Unit | None = None
        self.unsent: list[Entry] = []
        """The entries of the next unit."""
        self._attempts: list[Attempt] = []
        self._ops: list[SendOp | StartOp | StopOp] = []
        self._timer: TimerAsk | None = None
        self._owned: dict[str, KeyAsk] = {}
        self._given: dict[str, KeyAsk] = {}
        """What is wanted of keys of tasks, by the calls: to own them, or what becomes of those that it has."""
        self._started = 0
        self._shown: Attempt | None = None
        self._shows = False
        self._labels: Mapping[str, str] = {}
        self._is_labelled = False
        self.is_large = False
        """The journal comes near to what a run may have, or is beyond it."""
        self._is_warned_of = False

    @property
    def is_settled(self) -> bool:
        """Whether all that was added is durable."""
        return self.in_flight is None and self.added == self.sent

    @property
    def starts_are_durable(self) -> bool:
        """Whether all children that it had to start are there."""
        return self.durable >= self._started

    def know(self, recorded: Sequence[Entry], tries: Mapping[str, Attempt], labels: Mapping[str, str]) -> None:
        """Take in what is on record already. Of a journal that was large before, somebody has been warned."""
        self._labels = labels
        self._shown = tries.get(DETAILS)
        self.size = sum(len(entry.key) + len(bytes(entry.value)) for entry in recorded)
        self.is_large = self.length >= self._limits.entries_soft or self.size >= self._limits.bytes_soft
        self._is_warned_of = self.is_large

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self.unsent.append(entry)
        self.added += 1
        self.length += 1
        self.size += len(entry.key) + len(entry.value)
        if self.length >= self._limits.entries_soft or self.size >= self._limits.bytes_soft:
            self.is_large = True

    def add_attempt(self, attempt: Attempt) -> None:
        """Append a row beside the log."""
        self._attempts.append(attempt)
        self.added += 1

    def add_op(self, op: SendOp | StartOp | StopOp) -> None:
        """Append what the run sends, starts or tells to end."""
        self._ops.append(op)
        self.added += 1
        if isinstance(op, StartOp):
            self._started = self.added

    def show(self, said: Raw, now: int) -> None:
        """Have people see this of the run, unless it is what they see already: of several the last one travels."""
        known = self._shown
        if known is not None and known.details == said:
            return
        # Later than all that is on record, whatever clock that was said by: the latest is kept.
        at = now if known is None else max(now, (known.details_at or 0) + 1)
        self._shown = Attempt(DETAILS, 1, UNDER_WAY, None, said, at)
        self._shows = True
        self.added += 1

    def label(self, labels: Mapping[str, str]) -> None:
        """Have these be the run's labels, unless they are already; with the entry that tells of it, if that is new."""
        if labels is not self._labels and labels != self._labels:
            self._is_labelled = True
            self.added += 1
        self._labels = labels

    def want(self, ask: KeyAsk) -> None:
        """Have this be wanted of a task's key, in the place of what was wanted of it before.

        One that is given back may be asked for in the same unit: that is looked at after all that is given back.
        """
        if ask.want == "own":
            self._owned[ask.call] = ask
        else:
            self._owned.pop(ask.call, None)
            self._given[ask.call] = ask
        self.added += 1

    def ask(self, timer: TimerAsk) -> None:
        """Ask whether a timer fires, after all that was added; nothing is added until it is answered."""
        self._timer = timer
        self.added += 1

    def is_too_large(self) -> bool:
        """Tell whether the journal has come to more than a run may have."""
        return self.length >= self._limits.entries_hard or self.size >= self._limits.bytes_hard

    def is_to_be_warned_of(self) -> bool:
        """Tell once of a journal that has become large."""
        known, self._is_warned_of = self._is_warned_of, True
        return self.is_large and not known

    def send(self, fence: Fence, end: End | None) -> Unit | None:
        """Return the next unit, with all that was added and `end`; None if one is in flight, or nothing is to say.

        A claim that ends asks no timer any more, and for no key.
        """
        if self.in_flight is not None or (end is None and self.added == self.sent):
            return None
        unit = self.in_flight = Unit(fence, self.base, self.unsent, self._attempts, end)
        self.base += len(self.unsent)
        self.unsent, self._attempts = [], []
        if self._shows and self._shown is not None:
            unit.attempts.append(self._shown)
            self._shows = False
        if self._ops:
            ops, self._ops = self._ops, []
            unit.ops = [op for op in ops if isinstance(op, SendOp)]
            unit.starts = [op for op in ops if isinstance(op, StartOp)]
            unit.stops = [op for op in ops if isinstance(op, StopOp)]
        if self._is_labelled:
            unit.labels, self._is_labelled = dict(self._labels), False
        if self._owned or self._given:
            unit.keys = [*self._given.values(), *(self._owned.values() if end is None else ())]
            self._owned, self._given = {}, {}
        if self._timer is not None:
            unit.timer, self._timer = (None if end is not None else self._timer), None
        self.sent = self.added
        return unit

    def acknowledge(self, *, fired: bool = False) -> None:
        """Take the unit in flight as durable, and so everything up to it; if its timer has `fired`, its entry, too."""
        unit, self.in_flight = self.in_flight, None
        self.durable = self.sent
        if fired and unit is not None and unit.timer is not None:
            self.base += 1
            self.length += 1
            self.size += len(unit.timer.entry.key) + len(unit.timer.entry.value)

    def give_up(self) -> None:
        """Forget everything from the unit in flight on, which the daemon will never take."""
        refused, self.in_flight = self.in_flight, None
        assert refused is not None
        self.unsent, self._attempts, self._ops, self._timer = [], [], [], None
        self._owned, self._given = {}, {}
        self._shows = self._is_labelled = False
        self.base = refused.base
        self.added = self.sent = self.durable
