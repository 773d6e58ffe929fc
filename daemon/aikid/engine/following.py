"""Read a run in full for those who follow it: how it stands and why, what its journal has brought, and what is open.

One read serves all who follow: each takes of it what comes after the entry up to which it has seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec.structs import replace

from aiki.core.states import TERMINAL
from aiki.rules import following as rules
from aiki.rules.following import NO_KIN, Kin, Tried
from aiki.rules.why import Facts
from aiki.wire.codec import encode
from aiki.wire.limits import LOOKED_MOST
from aiki.wire.messages import Explained, Follow, FollowReply, Looked, RunFeed, Seen
from aiki.wire.packing import reply_room
from aikid.engine import status, why
from aikid.engine.changes import RunKey
from aikid.store import following as store
from aikid.store.following import Counted, Head
from aikid.store.pool import Connection, Pool

Look: TypeAlias = Callable[[str, str, str, int], Awaitable[Looked | None]]
"""Asks the worker of a namespace's session what stands of a run in its memory, with so many of its calls."""

_TRIES: Final = 3
"""To read a run in one generation, while it goes on."""
UNKNOWN: Final = Counted()


@dataclass(frozen=True, slots=True)
class Reading:
    """A run as it was read: its newest outcomes after those that all who asked have."""

    feed: RunFeed
    counted: Counted
    session: str | None
    looked: Looked | None

    @property
    def generation(self) -> int:
        """In which of its lives the run was."""
        return self.feed.run.generation

    def after(self, seen: Seen) -> RunFeed:
        """Return the feed for whoever has seen so much: all of it, if that was of an earlier generation."""
        feed, since = self.feed, seen.journal_seq
        if seen.generation != self.generation or since > feed.journal_seq or since < feed.since:
            since = 0
        return replace(feed, since=since, outcomes=[one for one in feed.outcomes if one.seq > since])


async def read(
    pool: Pool, run: RunKey, *, after: Seen | None, counted: Counted = UNKNOWN, look: Look
) -> Reading | None:
    """Return a run with its outcomes after what was seen of it, the newest alone; None if there is no such run.

    Calls are counted on from what is known. Raises Unavailable.
    """
    asked = _Asked(look, run[1])
    tries = 0
    while (found := await _find(pool, run, after, counted, asked)) is not None:
        tries += 1
        if tries == _TRIES or found.head.counted.generation == found.facts.run.generation:
            return _reading(found, asked.looked)
    return None


async def _find(pool: Pool, run: RunKey, after: Seen | None, counted: Counted, asked: _Asked) -> _Found | None:
    """Read a run once; it may go on into its next generation meanwhile."""
    told = await why.explain(pool, *run, look=asked.look)
    if told is None:
        return None
    facts, explained = told

    # The status was read first: whoever has ended has written all of its journal by then.
    async def work(connection: Connection) -> _Found | None:
        return await _read(connection, run, (facts, explained), after, counted)

    return await pool.run(work)


def _reading(found: _Found, looked: Looked | None) -> Reading:
    known, facts = found.head.counted, found.facts
    run = replace(facts.run, generation=known.generation, progress=list(facts.said))
    if run.why is None and facts.due is not None:
        run = replace(run, tried=facts.due)
    outcomes, started = rules.outcomes(found.written)
    feed = RunFeed(
        now=found.head.now,
        run=run,
        since=found.since,
        journal_seq=known.seq,
        history_seq=found.head.history_seq,
        outcomes=outcomes,
        open=rules.open_calls(run, found.tries, looked, found.kin),
        done=known.done,
        failed=known.failed,
        children=dict(found.kin.states),
        explained=None if run.state in TERMINAL else found.explained,
        started=started,
    )
    return Reading(feed, known, None if facts.hold is None else facts.hold.session, looked)


@dataclass(slots=True)
class _Asked:
    """How workers are asked; what was told of the run itself is kept."""

    ask: Look
    run_id: str
    looked: Looked | None = None

    async def look(self, namespace: str, session: str, run_id: str) -> Looked | None:
        if run_id != self.run_id:
            return await self.ask(namespace, session, run_id, 1)
        self.looked = await self.ask(namespace, session, run_id, LOOKED_MOST)
        return self.looked


@dataclass(frozen=True, slots=True)
class _Found:
    facts: Facts
    explained: Explained
    head: Head
    since: int
    written: Sequence[rules.Written]
    tries: Sequence[Tried]
    kin: Kin


async def _read(
    connection: Connection, run: RunKey, told: tuple[Facts, Explained], after: Seen | None, counted: Counted
) -> _Found | None:
    namespace, run_id = run
    head = await store.head(connection, namespace, run_id, counted)
    if head is None:
        return None
    known = head.counted
    is_same = after is not None and after.generation == known.generation and after.journal_seq <= known.seq
    since = after.journal_seq if after is not None and is_same else 0
    has_children = told[0].run.children > 0
    return _Found(
        *told,
        head,
        since,
        await store.entries(connection, run_id, known, after=since) if known.seq > since else (),
        await store.tries(connection, run_id, head),
        await store.kin(connection, run_id, known.generation) if has_children else NO_KIN,
    )


def earliest(seen: Sequence[Seen]) -> Seen | None:
    """Return what all of those have who have seen one run so far; None if that is nothing."""
    generations = {one.generation for one in seen}
    return min(seen, key=lambda one: one.journal_seq) if len(generations) == 1 else None


def reply(request: Follow, found: Mapping[str, Reading], *, room: int) -> FollowReply:
    """Return what was found of the runs, from the first on, as much as fits `room`."""
    left, told = reply_room(room), FollowReply([])
    for place, seen in enumerate(request.runs):
        if (reading := found.get(seen.id)) is None:
            continue
        feed = fitted(reading.after(seen), room)
        size = len(encode(feed)) + 1
        if size > left and told.runs:
            told.rest = len(request.runs) - place
            break
        told.runs.append(feed)
        left -= size
    return told


def fitted(feed: RunFeed, room: int) -> RunFeed:
    """Return what of a feed a message of `room` bytes can hold: what is newest, and at last the status alone."""
    most = reply_room(room)
    while len(encode(feed)) > most:
        if feed.outcomes or feed.started:
            feed = replace(feed, outcomes=feed.outcomes[len(feed.outcomes) // 2 + 1 :], started=[])
        elif feed.explained is not None:
            feed = replace(feed, explained=None)
        elif feed.open:
            feed = replace(feed, open=feed.open[: len(feed.open) // 2])
        else:
            return replace(feed, run=status.within(feed.run, room))
    return feed
