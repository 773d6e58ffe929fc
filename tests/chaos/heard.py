"""Own the check that each event that was accepted was taken once, in the order of acceptance, and each regret undone.

From what senders noted and the ledger alone. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.ledger import Effect

TASK: Final = "hear"
"""The task that a run does for each event that it takes; its idempotency key is the place and the value."""
DO: Final = "do"
UNDO: Final = "undo"
"""What takes back the task DO."""


@dataclass(frozen=True)
class Accepted:
    """An event that a run must take: when its sender first sent it, and when it was answered, by one clock."""

    run_id: str
    value: str
    sent_at: float
    answered_at: float


def violations(effects: Sequence[Effect], accepted: Sequence[Accepted]) -> Iterable[str]:
    """Return a line for each event that was lost, taken twice, or taken before one that had been accepted earlier."""
    taken = _taken(effects)
    by_run: dict[str, list[Accepted]] = defaultdict(list)
    for event in accepted:
        by_run[event.run_id].append(event)
    for run_id, events in by_run.items():
        values = taken.get(run_id, [])
        places = {value: place for place, value in reversed(values)}
        yield from _twice(run_id, values)
        for event in events:
            if event.value not in places:
                yield f"events {run_id}: {event.value} was accepted, and never taken"
        yield from _disorder([event for event in events if event.value in places], places)


def regrets(effects: Iterable[Effect], told: Iterable[str]) -> Iterable[str]:
    """Return a line for each run of those that were `told` to end that has done something and not undone it."""
    begun = {effect.run_id for effect in effects if effect.event == "start" and effect.key.startswith(f"task:{DO}:")}
    undone = {effect.run_id for effect in effects if effect.event == "end" and effect.key.startswith(f"task:{UNDO}:")}
    for run_id in sorted(begun.intersection(told) - undone):
        yield f"regrets {run_id}: it has ended without having undone what it did"


def _taken(effects: Iterable[Effect]) -> dict[str, list[tuple[int, str]]]:
    """Return by run what it took, with the place that it gave to each; a task that was repeated counts once."""
    taken: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for effect in effects:
        if effect.event == "start" and effect.key.startswith(prefix := f"task:{TASK}@"):
            place, _, value = effect.key.removeprefix(prefix).partition(":")
            taken[effect.run_id].add((int(place), value))
    return {run_id: sorted(pairs) for run_id, pairs in taken.items()}


def _twice(run_id: str, taken: Sequence[tuple[int, str]]) -> Iterable[str]:
    for value, times in Counter(value for _, value in taken).items():
        if times > 1:
            yield f"events {run_id}: {value} was taken {times} times"
    for place, times in Counter(place for place, _ in taken).items():
        if times > 1:
            yield f"events {run_id}: {times} events were taken as number {place}"


def _disorder(events: Iterable[Accepted], places: dict[str, int]) -> Iterable[str]:
    """Of two that were under way at the same time either may be first."""
    latest: Accepted | None = None
    for event in sorted(events, key=lambda event: places[event.value]):
        if latest is not None and event.answered_at < latest.sent_at:
            yield f"events {event.run_id}: {latest.value} was taken before {event.value}, accepted earlier"
        if latest is None or event.sent_at > latest.sent_at:
            latest = event
