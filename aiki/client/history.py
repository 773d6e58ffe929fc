"""Own a line of a run's story as a client sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiki.client.children import ChildNote, Children
from aiki.core import keys
from aiki.core.moments import to_datetime
from aiki.core.states import State
from aiki.definitions import stored
from aiki.wire.messages import HistoryItem


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of a run's story: a change of state, a recorded outcome (`entry`), a try that failed (`attempt`).

    In the end come the events that it has not taken (`event`).
    """

    at: datetime
    move: str
    """What happened to the run, such as `claim`; `entry`, `attempt` or `event` of a line that is one."""
    state: State | None = None
    reason: str | None = None
    actor: str | None = None
    key: str | None = None
    ok: bool | None = None
    value: Any = None
    attempt: int | None = None
    """Of a try: its number, from 1."""
    due_at: datetime | None = None
    """Of a try: when the next one is due."""
    children: tuple[ChildNote, ...] = ()
    """Whom it tells of: who was started, or found by a key, or told to end, or has ended."""
    generation: int = 0
    """In which life of the run it happened; `continue` is the last line of one."""
    started_at: datetime | None = None
    """Of an outcome or a try: when it began, or was asked for if it is no task's."""
    worker: str | None = None
    """Of an outcome or a try: the worker's name."""
    arguments: Any = None
    """Of an outcome or a try: what was called with, without defaults; a text that ends with `…` is its beginning."""

    @property
    def took(self) -> timedelta | None:
        """How long what the line is about took, if that is known."""
        return None if self.started_at is None else max(timedelta(), self.at - self.started_at)

    @property
    def task(self) -> str | None:
        """The name of the task that the line is about."""
        return None if self.key is None else keys.task_of(self.key)

    @property
    def event(self) -> str | None:
        """The name of the event that the line is about; of a wait for several their names, with `|` between them."""
        return None if self.key is None or keys.kind_of(self.key) != keys.EVENT else keys.name_of(self.key)

    @property
    def timer(self) -> timedelta | datetime | None:
        """The length of the timer that the line is about, or its date if it was made for one."""
        match None if self.key is None else keys.timer_of(self.key):
            case ("for", microseconds):
                return timedelta(microseconds=microseconds)
            case ("until", microseconds):
                return to_datetime(microseconds)
        return None

    @property
    def retry(self) -> tuple[int, str] | None:
        """Which attempt of the workflow begins with the line, and what was called first in it, if that is known."""
        if self.key is None or keys.kind_of(self.key) != keys.RETRY or not isinstance(self.value, dict):
            return None
        attempt, key = self.value.get("attempt"), self.value.get("key", "")
        return (attempt, keys.name_of(key)) if isinstance(attempt, int) and isinstance(key, str) else None

    @property
    def labels(self) -> Mapping[str, str | None] | None:
        """What labels the body has set, if the line is about that; None for one that it has taken away."""
        if self.key is None or keys.kind_of(self.key) != keys.LABELS or not isinstance(self.value, dict):
            return None
        return {name: pair[1] for name, pair in self.value.items() if isinstance(pair, list) and len(pair) == 2}


def to_entry(item: HistoryItem, children: Children) -> HistoryEntry:
    """Return the public form of a line on the wire; `children` knows what was told of them before."""
    return HistoryEntry(
        at=to_datetime(item.at),
        move=item.move,
        state=item.state,
        reason=item.reason,
        actor=item.actor,
        key=item.key,
        ok=item.ok,
        value=stored.read(item.value),
        attempt=item.attempt,
        generation=item.generation,
        due_at=None if item.due_at is None else to_datetime(item.due_at),
        children=children.note(item),
        started_at=None if item.started_at is None else to_datetime(item.started_at),
        worker=item.worker,
        arguments=stored.read(item.arguments),
    )
