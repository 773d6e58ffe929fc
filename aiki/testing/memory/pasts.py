"""Own what a retry looks at: a run's journal, and what has become of the children that it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import DecodeError

from aiki.core.states import State
from aiki.rules import retrying
from aiki.rules.histories import read
from aiki.rules.recording import is_start
from aiki.rules.retrying import Child, Past
from aiki.testing.memory.run import Link, Run
from aiki.wire.codec import decoder
from aiki.wire.messages import Entry, Failure, Unit


def past_of(run: Run, unit: Unit | None = None) -> Past:
    """Return what a retry needs to know of a run; with a `unit` as it stands when all but its last entry is written."""
    written = [] if unit is None else unit.entries[:-1]
    journal = [*run.life.journal, *written]
    history = read(journal)
    seqs = _seqs(run, written)
    asked = retrying.asked(journal, history, _told(run, seqs, "op"))
    ends = _told(run, seqs, "child")
    links = [link for _, link in sorted(run.children.items()) if link.generation == run.generation]
    return Past(
        run.id,
        run.state,
        run.attempt,
        history,
        len(journal),
        run.began_at or run.started_at or run.born_at,
        _failed_place(run),
        [
            _child(link, place, ends.get(link.start_id))
            for link in links
            if (place := asked.get(link.start_id, 0)) is not None
        ],
        frozenset(key for (key, _), one in run.life.tries.items() if is_start(one)),
        is_closing=run.closing > 0,
    )


def _seqs(run: Run, written: Sequence[Entry]) -> dict[int, int]:
    """Return of each arrival that entries of the generation have taken by which of them."""
    here = {number: seq for number, (generation, seq) in run.inbox.taken.items() if generation == run.generation}
    more = enumerate(written, len(run.life.journal) + 1)
    return here | {number: seq for seq, entry in more for number in entry.takes}


def _told(run: Run, seqs: Mapping[int, int], kind: str) -> dict[str, int]:
    """Return by which entries a run was told of its children: of their starts, or of their ends."""
    rows = ((run.inbox.rows[number], seq) for number, seq in seqs.items())
    return {row.name: seq for row, seq in rows if row.kind == kind and (kind == "child" or row.name in run.children)}


def _child(link: Link, asked: int, ended_seq: int | None) -> Child:
    child = link.child.newest
    return Child(link.start_id, child.id, child.state, asked, link.owned, child.cancel_seq is not None, ended_seq)


def _failed_place(run: Run) -> int | None:
    """Return the place of the entry that has failed a run, if its error says so."""
    if run.state is not State.FAILED or not run.error:
        return None
    try:
        failure: Failure = decoder(Failure).decode(run.error)
    except DecodeError:  # whatever a client has written there
        return None
    return failure.cut
