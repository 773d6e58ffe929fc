"""Own how a journal with retries in it is read: what a retry cut off counts no more, but for results that it keeps.

Entries behind a retry's cut are not copied before it: given back in their order they would diverge, since the call at
the cut decided what the body did with them. So results of tasks are *known* beside the journal: whoever asks for one
gets it as if the task had just ended. Places count what counts, from 0: the entry at place n is that which was given
when n had been given before it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from aiki.core.keys import RETRY, beginning, is_task, name_of
from aiki.wire.codec import decoder
from aiki.wire.messages import Entry, Retried

_RETRIES: Final = beginning(RETRY)


@dataclass(frozen=True, slots=True)
class History:
    """What a journal says."""

    entries: Sequence[Entry]
    """Those that count, in their order."""
    seqs: Sequence[int]
    """Which entries of the journal these are, from 1."""
    known: Mapping[str, Entry] = field(default_factory=dict)
    """Results beside them, by their keys."""
    retries: Sequence[Retried] = ()
    """Those in force, by their cuts."""
    first: Retried | None = None
    """The very first: it says by which run, and before which attempt, the journal was begun."""
    ordered: Retried | None = None
    """The last that a person has ordered, whether it is still in force or not."""

    def attempt_at(self, place: int, newest: int) -> int:
        """Return the attempt in force for a call that was asked for when `place` entries had been given.

        `newest` is the run's own. Ids that are derived from a call carry it: the same before a cut, others behind it.
        """
        before = newest if self.first is None else self.first.attempt - 1
        return max((retry.attempt for retry in self.retries if place > retry.cut), default=before)

    def run_at(self, place: int, newest: str) -> str:
        """Return the run that a body is to see itself as, when `place` entries have been given; `newest` is the last.

        Its id may stand in what it has asked for.
        """
        before = newest if self.first is None else self.first.of
        return next((retry.run_id for retry in reversed(self.retries) if place > retry.cut), before)


def read(journal: Sequence[Entry]) -> History:
    """Return what a journal says of which all entries are given."""
    places = [place for place, entry in enumerate(journal) if entry.key.startswith(_RETRIES)]
    if not places:
        return History(journal, range(1, len(journal) + 1))
    entries: list[Entry] = []
    seqs: list[int] = []
    known: dict[str, Entry] = {}
    retries: list[Retried] = []
    begin = 0
    every = [_retried(journal[place]) for place in places]
    for place, retry in zip(places, every, strict=True):
        entries += journal[begin:place]
        seqs += range(begin + 1, place + 1)
        begin = place + 1
        retries = [*(one for one in retries if one.cut <= retry.cut), retry]
        known = _kept([*known.values(), *entries[retry.cut :]], retry, retries)
        del entries[retry.cut :], seqs[retry.cut :]
    entries, seqs = [*entries, *journal[begin:]], [*seqs, *range(begin + 1, len(journal) + 1)]
    ordered = next((one for one in reversed(every) if one.run_id != one.of), None)
    return History(entries, seqs, known, retries, every[0], ordered)


def survives(entry: Entry, cut: int, keep: Iterable[str]) -> bool:
    """Tell whether a retry keeps the result of an entry behind its cut: of a task that succeeded and was asked before.

    A failure is to be tried again: else a gather of which three fail needs three retries. `keep` are tasks whose
    results are kept whenever they were asked for.
    """
    return is_task(entry.key) and entry.ok and (entry.asked <= cut or name_of(entry.key) in keep)


def _retried(entry: Entry) -> Retried:
    """Return what the entry of a retry says. Its own time is the right one: somebody may have cut a wait short."""
    said: Retried = decoder(Retried).decode(entry.value)
    early = said.at - entry.at
    return said if early <= 0 else replace(said, at=entry.at, idle=max(0, said.idle - early))


def _kept(behind: Iterable[Entry], retry: Retried, retries: Iterable[Retried]) -> dict[str, Entry]:
    keep = {name for one in retries for name in one.keep}
    return {entry.key: entry for entry in behind if entry.key != retry.key and survives(entry, retry.cut, keep)}
