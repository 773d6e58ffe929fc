"""Own what a follower has of a run: it takes in what is told, finds out whether anything before is missing, and shows.

Of the calls that have an outcome it keeps the newest; all that is told of the run's standing is told whole each time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from msgspec.structs import replace

from aiki.core import keys
from aiki.core.moments import to_datetime
from aiki.definitions import status, why
from aiki.definitions.view import CallState, CallView, RunView
from aiki.wire.limits import FOLLOWED_CALLS
from aiki.wire.messages import CallOutcome, OpenCall, RunFeed, Seen

_KINDS: Final = {keys.END: "child", keys.ALL: "children", keys.UNTIL: keys.TIMER}
_NAMELESS: Final = frozenset({keys.TIMER, keys.UNTIL, keys.ALL})
_NOTHING: Final = -1


class Taken(Enum):
    """What became of what was told."""

    NEW = "new"
    OLD = "old"
    """What is known is newer."""
    GAP = "gap"
    """Something before it is missing."""


class Viewing:
    """What is known of one run."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._generation = _NOTHING
        self._feed: RunFeed | None = None
        self._outcomes: dict[int, CallOutcome] = {}
        self._children: dict[str, str] = {}
        """Ids of children, by what follows the kind in the keys of their starts."""

    @property
    def is_known(self) -> bool:
        """Whether anything was taken in."""
        return self._feed is not None

    @property
    def seen(self) -> Seen:
        """Up to where the run is known."""
        if self._feed is None:
            return Seen(self._run_id)
        return Seen(self._run_id, self._generation, self._feed.journal_seq)

    def take(self, feed: RunFeed, *, is_answer: bool = False) -> Taken:
        """Take in what was told. An answer is of what was asked for: all that there is, or all after what was seen."""
        known, generation = self._feed, feed.run.generation
        is_whole = feed.since == 0
        if is_answer and is_whole:
            self._begin(generation)
        elif known is not None and _order(feed) < _order(known):
            return Taken.OLD
        elif generation != self._generation:
            if not is_whole:
                return Taken.GAP
            self._begin(generation)
        elif known is not None and feed.since > known.journal_seq:
            return Taken.GAP
        self._feed = feed
        self._children |= feed.started
        for one in feed.outcomes:
            self._outcomes.setdefault(one.seq, one)
        for seq in sorted(self._outcomes)[: max(0, len(self._outcomes) - FOLLOWED_CALLS)]:
            del self._outcomes[seq]
        return Taken.NEW

    def _begin(self, generation: int) -> None:
        self._generation, self._feed = generation, None
        self._outcomes, self._children = {}, {}

    def view(self) -> RunView:
        """Return the run as it is known. Something must have been taken in."""
        feed = self._feed
        assert feed is not None
        run = feed.run
        if feed.explained is not None:
            run = replace(run, sentence=why.sentence(feed.explained, feed.now))
        return RunView(
            status=status.from_wire(run),
            calls=self._calls(feed),
            done=feed.done,
            failed=feed.failed,
            children=feed.children,
            history_seq=feed.history_seq,
            journal_seq=feed.journal_seq,
        )

    def _calls(self, feed: RunFeed) -> tuple[CallView, ...]:
        ended = {one.key: one for _, one in sorted(self._outcomes.items())}
        # What a worker told may be older than what the journal held when that was read.
        open = [one for one in feed.open if (last := ended.get(one.key)) is None or (one.started or 0) > last.at]
        room = max(FOLLOWED_CALLS - len(open), 0)
        done = sorted(self._outcomes.values(), key=lambda one: one.seq)
        found = [*self._done(done[len(done) - room :] if room < len(done) else done), *_open(open, feed)]
        return tuple(call for _, _, call in sorted(found, key=lambda one: one[:2]))

    def _done(self, outcomes: Iterable[CallOutcome]) -> Iterator[tuple[int, int, CallView]]:
        for one in outcomes:
            run_id = one.run_id
            if run_id is None and keys.kind_of(one.key) == keys.END:
                run_id = self._children.get(keys.said_in(one.key))
            began = one.at if one.started is None else one.started
            yield (
                began,
                one.seq,
                CallView(
                    key=one.key,
                    kind=_kind(one.key),
                    name=_name(one.key),
                    state=CallState.DONE if one.ok else CallState.FAILED,
                    attempt=one.attempt,
                    started_at=None if one.started is None else to_datetime(one.started),
                    ended_at=to_datetime(one.at),
                    error=one.error or None,
                    run_id=run_id,
                    worker=one.worker,
                ),
            )


def _open(open: Iterable[OpenCall], feed: RunFeed) -> Iterator[tuple[int, int, CallView]]:
    for place, one in enumerate(open):
        began = feed.now if one.started is None else one.started
        is_running = one.state == "running"
        call = CallView(
            key=one.key,
            kind=_kind(one.key),
            name=_name(one.key),
            state=CallState(one.state),
            attempt=one.attempt,
            started_at=None if one.started is None else to_datetime(one.started),
            next_at=None if one.next_at is None else to_datetime(one.next_at),
            error=one.error or None,
            fraction=one.fraction,
            message=one.message,
            run_id=one.run_id,
            worker=feed.run.worker if is_running else None,
        )
        yield began, feed.journal_seq + 1 + place, call


def _kind(key: str) -> str:
    kind = keys.kind_of(key)
    return _KINDS.get(kind, kind)


def _name(key: str) -> str:
    return "" if keys.kind_of(key) in _NAMELESS else keys.name_of(key)


def _order(feed: RunFeed) -> tuple[int, int, int, int]:
    """Return what rises with all that happens to a run; at last the clock by which it was read."""
    return feed.run.generation, feed.history_seq, feed.journal_seq, feed.now


def retried(view: RunView, run_id: str) -> RunView:
    """Return the view of a run that goes on in the place of another one."""
    return dataclasses.replace(view, status=dataclasses.replace(view.status, retry_of=run_id))
