"""Own a run's story, line by line as aikid tells it: transitions, outcomes, tries that failed, events still unread.

Each line has a place: in which generation, how long its journal was, and in which turn of its life, counted in claims.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Final, NamedTuple

from aiki.core.errors import UsageError
from aiki.core.states import Move, target
from aiki.rules.recording import is_under_way
from aiki.testing.memory.run import Life, Made, Run, TryKey
from aiki.testing.memory.store import Store
from aiki.wire import weights
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import NULL, Attempt, Entry, History, HistoryItem, HistoryReply
from aiki.wire.packing import page as page_of

_CURSOR: Final = re.compile(r"-?[0-9]{1,9}\.-?[0-9]{1,9}\.-?[0-9]{1,9}\.[0-9]{1,9}")
_MOVES: Final = frozenset(move.value for move in Move)
_ITEMS: Final = 500
_CLAIM, _TRY, _OTHER = range(3)
_TURNS: Final = 3
_STILL_TO_COME: Final = 999_999_999
"""The generation that an event will stand in which nobody has taken: behind all that has happened."""


class Place(NamedTuple):
    """Where a line stands; places are in order as tuples are.

    An entry stands first at its number. Then, with the journal so long, come the turns: three for each claim (the
    claim itself, its tries, and what ended it and followed), counted by `nth`. What ends a generation belongs to it.
    """

    generation: int
    length: int
    turn: int
    nth: int


_BEGIN: Final = Place(-1, -1, 0, 0)


def history(store: Store, request: History) -> HistoryReply:
    """Return a run's story from the cursor on, as much as fits. Raises UsageError and NotFound."""
    after = _place(request.cursor)
    run = store.find(request.id)
    lines = [line for line in _held(run) if line[0] > after]
    kept = page_of([item for _, item in lines[:_ITEMS]], weights.of_item, MESSAGE_BYTES)
    return HistoryReply(kept, ".".join(map(str, lines[len(kept) - 1][0])) if len(kept) < len(lines) else None)


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return _BEGIN
    if not _CURSOR.fullmatch(cursor):
        raise UsageError("the cursor of a history is what an earlier page gave")
    return Place(*map(int, cursor.split(".")))


def _held(run: Run) -> Iterator[tuple[Place, HistoryItem]]:
    """Yield the lines in order, each outcome and try with its worker: that of the last claim in its generation."""
    generation, worker = -1, None
    for place, item in sorted(_lines(run), key=itemgetter(0)):
        if place.generation != generation:
            generation, worker = place.generation, None
        if item.move == Move.CLAIM:
            worker = item.actor
        elif item.move in ("entry", "attempt"):
            item.worker = item.worker or worker
        yield place, item


def entries_and_tries_held(run: Run) -> tuple[list[str | None], dict[TryKey, str | None]]:
    """Return whose the entries are that a run's life has come to, and whose its tries."""
    entries: list[str | None] = []
    tries: dict[TryKey, str | None] = {}
    for place, item in _held(run):
        if place.generation != run.generation:
            continue
        if item.move == "entry":
            entries.append(item.worker)
        elif item.move == "attempt" and item.key is not None and item.attempt is not None:
            tries[item.key, item.attempt] = item.worker
    return entries, tries


def _lines(run: Run) -> Iterator[tuple[Place, HistoryItem]]:
    first = run.generation - len(run.past)  # a retry begins in the generation of the run that it goes on from
    yield from _transitions(run)
    yield from _tries(run, first)
    for generation, life in enumerate([*run.past, run.life], first):
        yield from _entries(life, generation)
    yield from _unread(run)


def _transitions(run: Run) -> Iterator[tuple[Place, HistoryItem]]:
    generation, length, claims = -1, 0, 0
    for nth, line in enumerate(run.lines):
        if line.generation != generation:
            generation, length, claims = line.generation, 0, 0
        is_claim = line.move == Move.CLAIM
        claims += is_claim
        length = max(length, line.length or 0)
        place = Place(generation, length, _TURNS * claims + (_CLAIM if is_claim else _OTHER), nth)
        state = target(Move(line.move)) if line.move in _MOVES else None
        yield place, HistoryItem(line.at, line.move, state, line.reason, line.actor, generation=generation)


def _entries(life: Life, generation: int) -> Iterator[tuple[Place, HistoryItem]]:
    for seq, one in enumerate(life.journal, 1):
        item = HistoryItem(one.at, "entry", key=one.key, ok=one.ok, value=one.value, generation=generation)
        _called(item, one)
        item.worker = life.workers[seq - 1] if seq <= len(life.workers) else None
        yield Place(generation, seq, -1, 0), item


def _tries(run: Run, first: int) -> Iterator[tuple[Place, HistoryItem]]:
    nth = 0
    for generation, life in enumerate([*run.past, run.life], first):
        for number, made in sorted(life.made.items(), key=_told):
            nth += 1
            if not is_under_way(one := life.tries[number]):
                turn = _TURNS * (made.epoch - life.epoch) + _TRY
                item = _try(one, made.at, generation)
                item.worker = life.triers.get(number)
                yield Place(generation, made.length, turn, nth), item


def _told(made: tuple[TryKey, Made]) -> tuple[int, int, int, TryKey]:
    """Return by what the tries of a life are told in order."""
    number, how = made
    return how.epoch, how.length, how.at, number


def _try(one: Attempt, at: int, generation: int) -> HistoryItem:
    item = HistoryItem(at, "attempt", key=one.key, attempt=one.attempt, due_at=one.next_at, generation=generation)
    if one.error and one.error != NULL:
        item.value = one.error
    _called(item, one)
    return item


def _called(item: HistoryItem, one: Entry | Attempt) -> None:
    """Have a line say when what it tells of began, and what was called with."""
    item.started_at = one.started
    if one.arguments != NULL:
        item.arguments = one.arguments


def _unread(run: Run) -> Iterator[tuple[Place, HistoryItem]]:
    for number, one in run.inbox.unread.items():
        if one.kind == "event":
            item = HistoryItem(one.at, "event", key=f"event:{one.name}", value=one.value)
            yield Place(_STILL_TO_COME, 0, 0, number), item
