"""Own what a look at a schedule decides: which slots start, wait, or are passed over, and when to look again. Pure.

Each slot is decided once: `decided` rises with every look, whatever clocks do. A slot is on time for a minute behind
its firing time; what is later is caught up with as the schedule says. On time or caught up with, slots meet the runs of
the schedule that are open, and those slots that wait for these, in order.

Who carries out a decision holds the schedule's row, and writes its rows, runs and `decided` in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice, takewhile
from typing import Final, Literal, NamedTuple, TypeAlias

from aiki.core.errors import UsageError
from aiki.core.ids import RunId, uuid7
from aiki.core.moments import SECOND
from aiki.core.states import TERMINAL, State
from aiki.rules.calendar import Span, fires_at, firings, moved, shown, slots, spanned, upcoming
from aiki.wire.limits import QUEUED_SLOTS, SLOTS
from aiki.wire.messages.schedules import Overlap, SlotResult, Spec

Kind: TypeAlias = Literal["slot", "trigger", "backfill"]

ON_TIME: Final = 60 * SECOND
"""A slot that is fired within this is not late."""
STARTED: Final = 100
"""Slots that one commit decides one by one, at most."""
AGAIN: Final = SECOND
"""After this a schedule is looked at again whose slots wait for a run to end."""
ACTOR: Final = "schedule {}"
"""Who cancels the runs before, by the schedule's name."""

PAUSED: Final = "paused"
LATE: Final = "nobody fired it in time, and catch-up is {}"
OLD: Final = "older than the window when it could be fired"
CHANGED: Final = "the schedule was changed before it was fired"
MOVED: Final = "this time of the day had fired already, by the zone data of before"
OPEN: Final = "a run of the schedule had not ended"
FULL: Final = f"{QUEUED_SLOTS} slots waited already"
REPLACED: Final = "a newer slot took its place"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A slot that is queued behind a run."""

    kind: Kind
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A schedule as it stands when it is looked at."""

    id: str
    spec: Spec
    now: int
    decided: int
    """All slots up to this one are decided."""
    zones: str = ""
    """As the last decision said."""
    paused: bool = False
    open: int = 0
    """Its runs, of whatever kind, that are open (see `is_open`)."""
    queued: Sequence[Waiting] = ()
    """In the order in which they start."""
    most: int = STARTED
    """Slots that are decided one by one: fewer if their inputs are large."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of a slot: a row. Slots in a row that were missed for one reason are one, up to `until`."""

    kind: Kind
    slot: int
    result: SlotResult
    reason: str = ""
    until: int | None = None
    count: int = 1
    waited: bool = False
    """Whether its row is there, as `queued`; any other that is there already stays as it is, and nothing starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a look decides. Rows come in the order in which their runs start."""

    rows: tuple[Decided, ...] = ()
    cancels: bool = False
    """Whether the runs that were open are cancelled."""
    decided: int
    zones: str
    look_at: int | None
    """When to look again; None if there is nothing to look for before somebody changes or triggers it."""


def decide(look: Look) -> Decision:
    """Return what is to be done now. The same look again, with what this decides, decides nothing more."""
    if look.paused:
        return Decision(decided=look.decided, zones=look.zones, look_at=None)
    turn = _Turn(look, look.spec.overlap)
    decided = moved(look.spec, look.decided, look.zones)
    turn.pass_over(spanned(look.spec, look.decided, decided), MOVED)
    due, next_at = _due(look, decided)
    if due and due[0].fires_at < look.now - ON_TIME:
        decided = _pass_over_late(look, turn, decided)
        due, next_at = _due(look, decided)
    turn.start_waiting(due)
    turn.meet([Waiting("slot", one.slot) for one in due])
    return _decision(look, turn, due[-1].slot if due else decided, next_at)


def restart(look: Look, spec: Spec | None = None, *, paused: bool = False) -> Decision:
    """Return what it means to count slots from now: when a schedule is made, changed to `spec`, or goes on.

    `look` is as it stood before; one that is made has `decided` = `now`. With `paused` it is so afterwards. Slots
    meanwhile are missed, but for one whose firing time is still to come.
    """
    spec = look.spec if spec is None else spec
    turn = _Turn(look, spec.overlap)
    decided = _decided_now(look, spec)
    turn.pass_over(spanned(look.spec, look.decided, decided), PAUSED if look.paused else CHANGED)
    if spec == look.spec:
        decided = max(decided, moved(spec, look.decided, look.zones))
    after = replace(look, spec=spec, paused=paused)
    return _decision(after, turn, decided, _next_at(after, decided))


def check_begin(spec: Spec, now: int) -> None:
    """Raise UsageError if a schedule that is made now would never fire."""
    if next(slots(spec, now), None) is None:
        raise UsageError(
            "the schedule would never fire: all its slots lie in the past", hint="name a later at=, or a later end="
        )


def trigger(look: Look, last: int) -> Decided:
    """Return the row of a slot that is fired now, whatever overlap says, paused or not. It is behind the `last` one."""
    return Decided("trigger", max(look.now, last + 1), "started")


def backfill(look: Look, start: int, end: int, *, overlap: Overlap, taken: AbstractSet[int]) -> Decision:
    """Return what becomes of the slots from `start` up to `end` that are decided and have no run: `taken` have one.

    A row of a backfill that was skipped gives way to that of a later one. Raises UsageError if the range is none, or
    has too many slots.
    """
    if end <= start:
        raise UsageError("a backfill's end lies behind its start")
    until = max(look.decided, look.now) if look.paused else look.decided
    until = min(until, end - 1)
    found = takewhile(lambda slot: slot <= until, slots(look.spec, start - 1))
    chosen = list(islice(found, SLOTS + 1))
    if len(chosen) > SLOTS:
        raise UsageError(f"a backfill fires at most {SLOTS:,} slots", hint="ask for a shorter range")
    turn = _Turn(look, overlap)
    turn.meet([Waiting("backfill", slot) for slot in chosen if slot not in taken])
    return replace(_decision(look, turn, look.decided, _next_at(look, look.decided)), zones=look.zones)


def next_slots(look: Look, count: int) -> list[tuple[int, int]]:
    """Return the next slots, and when each is fired, as if it were not paused.

    That is also one whose time has come, but for its jitter.
    """
    since = replace(look, decided=max(look.decided, look.now - look.spec.jitter))
    return upcoming(look.spec, look.id, _decided_now(since, look.spec), count)


def is_open(states: Iterable[State]) -> bool:
    """Tell whether a slot's run is open: by its state, those of its retries, and of all that any of these has started.

    What is paused, blocked, or has gone on as new is open.
    """
    return any(state not in TERMINAL for state in states)


def fired_run_id(schedule_id: str, kind: Kind, slot: int) -> RunId:
    """Return the id of a slot's run: a UUIDv7 of its slot, the same whoever fires it."""
    state = blake2b(f"{schedule_id}/{kind}/{slot}".encode(), digest_size=10, person=b"aiki.slot")
    milliseconds = max(slot // 1000, 0)
    return RunId(str(uuid7(milliseconds=milliseconds, random_bits=int.from_bytes(state.digest(), "big"))))


# -- which slots are due


class _Due(NamedTuple):
    slot: int
    fires_at: int


def _due(look: Look, decided: int) -> tuple[list[_Due], int | None]:
    """Return the slots that are due, at most as many as are decided at once, and when the next behind these fires."""
    due: list[_Due] = []
    for one in map(_Due._make, firings(look.spec, look.id, decided)):
        if one.fires_at > look.now or len(due) == look.most:
            return due, one.fires_at
        due.append(one)
    return due, None


def _next_at(look: Look, decided: int) -> int | None:
    return next((moment for _, moment in firings(look.spec, look.id, decided)), None)


def _fired_before(look: Look, after: int, moment: int) -> Span | None:
    """Return the slots behind `after` whose firing time is before `moment`."""
    span = spanned(look.spec, after, moment - 1)
    # Only the last of them can fire later: each fires before the next slot.
    if span is not None and fires_at(look.spec, look.id, span.last) >= moment:
        return spanned(look.spec, after, span.last - 1)
    return span


def _pass_over_late(look: Look, turn: _Turn, decided: int) -> int:
    """Pass over what is late and not caught up with; return up to where is decided then."""
    spec = look.spec
    old = _fired_before(look, decided, look.now - max(spec.window, ON_TIME))
    turn.pass_over(old, OLD)
    decided = decided if old is None else old.last
    if spec.catch_up == "all":
        return decided  # nothing else is passed over: how much is late is not counted at each hundred
    late = _fired_before(look, decided, look.now - ON_TIME)
    if late is None:
        return decided
    until = late.last
    if spec.catch_up == "latest" and not _due(look, late.last)[0]:
        until -= 1
    turn.pass_over(spanned(spec, decided, until), LATE.format(spec.catch_up))
    return max(decided, until)


def _decided_now(look: Look, spec: Spec) -> int:
    """Return `now`, or less if a slot is to be fired yet whose time has come but for its jitter."""
    span = spanned(spec, look.decided, look.now)
    if span is not None and fires_at(spec, look.id, span.last) > look.now:
        return span.last - 1
    return max(look.decided, look.now)


# -- what becomes of them


@dataclass(slots=True)
class _Turn:
    """The slots of one decision as they meet what is open and what waits."""

    look: Look
    overlap: Overlap
    rows: list[Decided] = field(default_factory=list[Decided])
    is_busy: bool = field(init=False)
    queued: list[Waiting] = field(init=False)
    cancels: bool = False

    def __post_init__(self) -> None:
        self.is_busy = self.look.open > 0
        self.queued = list(self.look.queued)

    def pass_over(self, span: Span | None, reason: str) -> None:
        """Miss all of the span."""
        if span is not None:
            until = span.last if span.count > 1 else None
            self.rows.append(Decided("slot", span.first, "missed", reason, until, span.count))

    def start_waiting(self, due: Sequence[object]) -> None:
        """Start the first that waits if nothing is open: they go on one at a time, whatever the schedule says now."""
        is_replaced = bool(due) and self.overlap == "cancel_previous"
        if self.queued and not self.is_busy and not is_replaced:
            self._start(self.queued.pop(0), waited=True)

    def meet(self, due: Sequence[Waiting]) -> None:
        """Have slots meet what is open, in order."""
        if self.overlap == "cancel_previous":
            self._replace(due)
            return
        for one in due:
            if self.overlap == "allow" or not (self.is_busy or self.queued):
                self._start(one)
            elif self.overlap == "skip":
                self._skip(one, OPEN)
            elif len(self.queued) >= QUEUED_SLOTS:
                self._skip(one, FULL)
            else:
                self._queue(one)

    def _replace(self, due: Sequence[Waiting]) -> None:
        if not due:
            return
        for one in self.queued:
            self._skip(one, REPLACED, waited=True)
        for one in due[:-1]:
            self._skip(one, REPLACED)
        self.queued.clear()
        if self.is_busy:
            self.cancels = True
            self._queue(due[-1])
        else:
            self._start(due[-1])

    def _start(self, one: Waiting, *, waited: bool = False) -> None:
        self.is_busy = True
        self.rows.append(Decided(one.kind, one.slot, "started", waited=waited))

    def _queue(self, one: Waiting) -> None:
        self.queued.append(one)
        self.rows.append(Decided(one.kind, one.slot, "queued"))

    def _skip(self, one: Waiting, reason: str, *, waited: bool = False) -> None:
        self.rows.append(Decided(one.kind, one.slot, "skipped", reason, waited=waited))


def _decision(look: Look, turn: _Turn, decided: int, next_at: int | None) -> Decision:
    again = [look.now + AGAIN] if turn.queued else []
    fires = [] if next_at is None else [next_at]
    return Decision(
        rows=tuple(turn.rows),
        cancels=turn.cancels,
        decided=decided,
        zones=shown(look.spec, decided),
        look_at=None if look.paused else min([*fires, *again], default=None),
    )
