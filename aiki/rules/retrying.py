"""Own what a retry does to a run that has ended: where it cuts, what it undoes, and when it is refused. Pure.

Nothing that was completed behind the cut is done again unasked: it took back, or went on from, what the retry makes
anew. Nor is a child made anew whose call was asked for before the cut, since its own keys would be others, and what it
has paid for would be paid for again: one that runs is the new run's, one that has completed is told again, and one that
failed is retried itself. One that was not started by the run, but found by its key, is somebody else's to retry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from msgspec import Raw

from aiki.core.keys import CANCEL, RETRY, STARTS, beginning, name_of, named, task_of
from aiki.core.states import TERMINAL, State
from aiki.rules.histories import History
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import Entry, Redone, Retried, Retry

_CANCELLED: Final = beginning(CANCEL)
_STARTS: Final = beginning(STARTS)
RETRIABLE: Final = TERMINAL - {State.COMPLETED}
"""The states of what can be retried."""


@dataclass(frozen=True, slots=True)
class Child:
    """A run that another has started, or found by its key, as far as its newest retry is concerned."""

    start_id: str
    """By which the parent knows it."""
    run_id: str
    state: State
    asked: int = 0
    """How many entries the parent had been given when it asked for it."""
    is_owned: bool = True
    """Whether the parent has started it."""
    is_cancelled: bool = False
    """Whether it was told to end."""
    ended_seq: int | None = None
    """The entry by which the parent was given its end."""


@dataclass(frozen=True, slots=True)
class Past:
    """A run that is to be retried."""

    id: str
    state: State
    attempt: int
    history: History
    length: int
    """Of its whole journal."""
    began_at: int
    """When its body was claimed first, in this generation."""
    failed_place: int | None = None
    """The place of the entry that failed it, from 1; None if its code did, behind all entries."""
    children: Sequence[Child] = ()
    """Those of its generation, but for what earlier retries have cut off."""
    once: frozenset[str] = frozenset()
    """Tasks, by the keys of their calls, that have begun and may not begin twice."""
    is_closing: bool = False
    """Whether its children are still to be told that it has ended."""


@dataclass(frozen=True, slots=True)
class Family:
    """What becomes of the children of a run that is retried."""

    kept: Sequence[Child] = ()
    """All that it still has."""
    attached: Sequence[Child] = ()
    """Those of them that run, or whose end is to be told again."""
    retried: Sequence[Child] = ()


def asked(journal: Sequence[Entry], history: History, outcomes: Mapping[str, int]) -> dict[str, int | None]:
    """Return of each child when its call was asked for; None of one whose call was cut off by an earlier retry.

    Children without a key stand in entries of their own. `outcomes` are the entries that told of those with one.
    """
    counting = dict(zip(history.seqs, history.entries, strict=True))
    found: dict[str, int | None] = {}
    for seq, one in enumerate(journal, 1):
        if one.key.startswith(_STARTS):
            started: list[tuple[str, str, int]] = decoder(list[tuple[str, str, int]]).decode(one.value)
            found |= {start_id: place if seq in counting else None for _, start_id, place in started}
    for start_id, seq in outcomes.items():
        found[start_id] = counting[seq].asked if seq in counting else None
    return found


def cut(past: Past, order: Retry) -> int | None:
    """Return how many entries stay; None if the run holds none of the task that it is to be retried from."""
    entries = past.history.entries
    if order.start:
        return 0
    if order.task is not None:
        return _first(task_of(entry.key) == order.task for entry in entries)
    cancelled = _first(entry.key.startswith(_CANCELLED) for entry in entries)
    if cancelled is not None:
        return cancelled
    return len(entries) if past.failed_place is None else min(past.failed_place - 1, len(entries))


def refusal(past: Past, order: Retry) -> Redone | None:
    """Return why a run is not retried; None if it is, as far as it alone is concerned."""
    if past.state not in RETRIABLE:
        return Redone("unfit", past.id, past.state)
    at = cut(past, order)
    if at is None:
        return Redone("no_task", past.id, past.state, [order.task or ""])
    for child in past.children if order.start else awaited(past, at):
        if child.state not in TERMINAL and (child.is_cancelled or (past.is_closing and child.is_owned)):
            return Redone("busy", child.run_id, child.state)
    return None if order.start else undone(past, at, order)


def undone(past: Past, at: int, order: Retry) -> Redone | None:
    """Return what a retry from a cut would do once more, or leave undone, against what is ordered; None if nothing."""
    if names := sorted({name_of(key) for key in _repeated(past, at) & past.once} - set(order.again)):
        return Redone("once", past.id, past.state, names)
    if order.force:
        return None
    names = sorted({*_completed(past, at, keep=order.keep)})
    children = [one.run_id for one in past.children if one.asked > at and one.state is State.COMPLETED]
    if names or children:
        return Redone("done", past.id, past.state, names, children)
    foreign = next((one for one in awaited(past, at) if not one.is_owned and one.state in RETRIABLE), None)
    return None if foreign is None else Redone("foreign", foreign.run_id, foreign.state)


def family(past: Past, order: Retry) -> Family:
    """Return what becomes of the children of a run that is retried. In a new generation it has none."""
    at = cut(past, order)
    if order.start or at is None:
        return Family()
    attached: list[Child] = []
    retried: list[Child] = []
    for one in awaited(past, at):
        (retried if one.is_owned and one.state in RETRIABLE else attached).append(one)
    return Family([one for one in past.children if one.asked <= at], attached, retried)


def awaited(past: Past, at: int) -> list[Child]:
    """Return the children that were asked for before a cut, and whose end was not given before it."""
    given = set(past.history.seqs[:at])
    return [one for one in past.children if one.asked <= at and one.ended_seq not in given]


def down(order: Retry) -> Retry:
    """Return the order as it goes to the children of a run: each goes on from where it has failed."""
    return Retry([], order.actor, keep=order.keep, again=order.again, force=order.force)


def entry(past: Past, order: Retry, *, run_id: str, now: int) -> Entry:
    """Return the entry with which the run `run_id` goes on behind the journal of the past one."""
    entries, at = past.history.entries, cut(past, order) or 0
    failed_at = entries[min(at, len(entries) - 1)].at if entries else past.began_at
    key = entries[at].key if at < len(entries) else ""
    value = Retried(at, past.attempt + 1, now, max(0, now - failed_at), key, run_id, past.id, list(order.keep))
    return Entry(named(RETRY, str(value.attempt)), True, Raw(encode(value)), now)


def kept(past: Past, at: int) -> list[tuple[int, int]]:
    """Return which entries of the journal stay in force, from the first to the last of each stretch.

    What these have consumed stays consumed.
    """
    stretches = (list(run) for _, run in groupby(enumerate(past.history.seqs[:at]), lambda each: each[1] - each[0]))
    return [(run[0][1], run[-1][1]) for run in stretches]


def _first(holds: Iterable[bool]) -> int | None:
    return next((place for place, one in enumerate(holds) if one), None)


def _repeated(past: Past, at: int) -> set[str]:
    """Return the calls of tasks that are made again: the one at the cut, and those behind it that failed."""
    behind = past.history.entries[at:]
    return {entry.key for place, entry in enumerate(behind) if place == 0 or (not entry.ok and entry.asked <= at)}


def _completed(past: Past, at: int, *, keep: Sequence[str]) -> list[str]:
    """Return the tasks that were asked for and completed behind a cut."""
    behind = (entry for entry in past.history.entries[at:] if entry.ok and entry.asked > at)
    names = (task_of(entry.key) for entry in behind)
    return [name for name in names if name is not None and name not in keep]
