"""Own what it means that something reaches a run: what becomes of it, whom it wakes, and what it goes before. Pure.

Arrivals are numbered by the run itself, and their times rise with their numbers. So "is there anything that I have not
seen?" is one compare of numbers, which needs no look into the inbox.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from aiki.core.states import TERMINAL, TRANSITIONS, Move, apply, sources
from aiki.rules.standing import Standing
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages import End, Outcome, SendOp, Sent

TAKEN: Final = Outcome("taken")
REPEATED: Final = Outcome("repeated")
CONFLICT: Final = Outcome("conflict")
UNKNOWN: Final = Outcome("unknown")
FULL: Final = Outcome("full")
REFUSED: Final = Outcome("refused")
EVENT: Final = "event"
OP: Final = "op"
CHILD: Final = "child"
CANCEL: Final = "cancel"
KEY: Final = "key"
"""Word that a task's key, which another run had, may be asked for again."""
Fired: TypeAlias = Literal["done", "early", "news"]


@dataclass(frozen=True, slots=True)
class Known:
    """What has ever reached a run, consumed or not: the ids of sends, and digests of values by event and key."""

    ids: Set[str] = frozenset()
    digests: Mapping[tuple[str, str], str | None] = field(default_factory=dict)


def send(standing: Standing | None, known: Known, event: SendOp | Sent, *, takes: Set[str] | None = None) -> Outcome:
    """Return what becomes of an event that is sent to a run, None if there is none of that id in the namespace.

    `takes` are the names of the events that its workflow declares, None if it takes any.
    A repeat is known also when the run has ended, or has consumed it: whoever repeats has not heard of the first.
    """
    if standing is None:
        return UNKNOWN
    if event.id in known.ids:
        return REPEATED
    if event.key is not None and (event.name, event.key) in known.digests:
        return REPEATED if known.digests[event.name, event.key] == event.digest else CONFLICT
    if standing.state in TERMINAL:
        return Outcome("ended", standing.state)
    if takes is not None and event.name not in takes:
        return REFUSED
    return FULL if standing.unread >= UNREAD_EVENTS else TAKEN


def word(kind: str, name: str) -> str:
    """Return what a parked run calls an arrival that it waits for: an event by its name, all others by their kinds."""
    return f"{EVENT}:{name}" if kind == EVENT else kind


def reached(standing: Standing, words: Iterable[str]) -> Standing:
    """Return how a run stands after arrivals of these words: queued, if it rests and waits for one of them.

    A cancel wakes it whatever it waits for, also for a person.
    """
    words = list(words)
    events = sum(word.startswith(f"{EVENT}:") for word in words)
    after = replace(standing, news=standing.news + len(words), unread=standing.unread + events)
    if CANCEL in words:
        move = Move.ARRIVE if standing.state in sources(Move.ARRIVE) else Move.RESUME
        state = apply(standing.state, move) if (standing.state, move) in TRANSITIONS else standing.state
        return replace(after, state=state, waits=frozenset(), wanted=None)
    if standing.wakes_at is not None and after.news < standing.wakes_at:
        words = [word for word in words if word != CHILD]
    if standing.state in sources(Move.ARRIVE) and not standing.waits.isdisjoint(words):
        return replace(after, state=apply(standing.state, Move.ARRIVE), waits=frozenset())
    return after


def comes_at(clock: int, last: int | None) -> int:
    """Return the time of an arrival, after that of the last; `clock` is read under the run's lock."""
    return clock if last is None else max(clock, last + 1)


def holds(standing: Standing, end: End) -> bool:
    """Tell whether a claim ends so: a park that says what its worker has seen does only if there is no other news."""
    return end.seen is None or end.seen == standing.news


def fires(*, due: int, seen: int, news: int, first_unseen_at: int | None, clock: int) -> Fired:
    """Return whether an asked timer fires; `clock` is read under the run's lock.

    It does so if its time has come and all that came up to then has been seen: `news` is the number of the last
    arrival, `first_unseen_at` the time of the first one after `seen`. Then nothing comes before it any more, since the
    next arrival comes after `due`.
    """
    if news != seen and (first_unseen_at is None or first_unseen_at <= due):
        return "news"
    return "done" if clock >= due else "early"
