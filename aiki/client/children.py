"""Own what the lines of a run's story say of its children: who was started or found, and how each has ended.

Entries name a child once, where it was started; what is said of its end later leads back there by its key.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

from aiki.core import keys
from aiki.core.states import State
from aiki.wire.codec import decoder
from aiki.wire.messages import HistoryItem, Started

_Starts: TypeAlias = list[tuple[str, str, int]]
_States: TypeAlias = dict[State, int]


@dataclass(frozen=True, slots=True)
class ChildNote:
    """What a line says of one child, or of several that have ended alike."""

    what: Literal["started", "found", "refused", "cancelled", "ended"]
    """`found` by its key, which it had already, or `refused` for that; `cancelled` is that it was told to end."""
    workflow: str | None = None
    run_id: str | None = None
    """Of one that was refused, who has its key. None where its start stands in no line."""
    state: State | None = None
    """How it has ended, if the line is about that."""
    count: int = 1
    """Of how many this is said: of several nobody is named."""


class Children:
    """The children of which the lines so far have told."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        """Run ids by what follows the kind in the key of their start."""

    def note(self, item: HistoryItem) -> tuple[ChildNote, ...]:
        """Return what an entry says of children; nothing of one that is not about them, or that cannot be read."""
        if item.key is None or not item.value:
            return ()
        read = _READERS.get(keys.kind_of(item.key))
        if read is None:
            return ()
        try:
            return read(self, item.key, item.value)
        except msgspec.DecodeError:
            return ()

    def started(self, _: str, value: msgspec.Raw) -> tuple[ChildNote, ...]:
        """Take in those that were started together."""
        listed: _Starts = decoder(_Starts).decode(value)
        self._ids |= {keys.said_in(key): run_id for key, run_id, _ in listed}
        return tuple(ChildNote("started", keys.name_of(key), run_id) for key, run_id, _ in listed)

    def keyed(self, key: str, value: msgspec.Raw) -> tuple[ChildNote, ...]:
        """Take in one that was started, or found, by its key."""
        outcome: Started = decoder(Started).decode(value)
        self._ids[keys.said_in(key)] = outcome.run_id
        return (ChildNote(_OUTCOMES.get(outcome.result, "refused"), keys.name_of(key), outcome.run_id),)

    def ended(self, key: str, value: msgspec.Raw) -> tuple[ChildNote, ...]:
        """Return how one has ended."""
        state: State = decoder(State).decode(value)
        return (ChildNote("ended", keys.name_of(key), self._ids.get(keys.said_in(key)), state),)

    def all_ended(self, _: str, value: msgspec.Raw) -> tuple[ChildNote, ...]:
        """Return how several have ended."""
        states: _States = decoder(_States).decode(value)
        return tuple(ChildNote("ended", state=state, count=count) for state, count in Counter(states).most_common())

    def told(self, key: str, _: msgspec.Raw) -> tuple[ChildNote, ...]:
        """Return who was told to end."""
        return (ChildNote("cancelled", keys.name_of(key)),)


_OUTCOMES: Final[dict[str, Literal["started", "found"]]] = {"started": "started", "existing": "found"}
_READERS: Final = {
    keys.STARTS: Children.started,
    keys.START: Children.keyed,
    keys.END: Children.ended,
    keys.ALL: Children.all_ended,
    keys.STOP: Children.told,
}
