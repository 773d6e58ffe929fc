"""Own what those who follow runs in full are told, and those who follow the namespace: after each request, at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from aiki.core.keys import DETAILS, is_task
from aiki.core.states import State
from aiki.rules import following as rules
from aiki.rules.following import Child, Kin, Tried, Written
from aiki.rules.recording import is_start, is_under_way
from aiki.testing.memory.run import Run
from aiki.testing.memory.status import explained
from aiki.testing.memory.store import Store
from aiki.testing.memory.summary import summary
from aiki.testing.memory.why import why
from aiki.wire.limits import FOLLOWED_CALLS, FOLLOWED_CHILDREN, LOOKED_MOST
from aiki.wire.messages import (
    NULL,
    Attempt,
    FeedNews,
    Follow,
    FollowNamespace,
    FollowReply,
    Looked,
    Request,
    RunFeed,
    Summary,
    SummaryReply,
    Why,
)

_OPEN_CHILDREN: Final = 50


def follow(store: Store, request: Follow) -> FollowReply:
    """Read runs in full."""
    return FollowReply([feed_of(store, store.runs[one.id]) for one in request.runs if one.id in store.runs])


def follow_namespace(store: Store, request: FollowNamespace) -> SummaryReply:
    """Read the namespace's summary."""
    return summary(store, Summary())


class Following:
    """The followers of one engine. They are told until the run has ended, however long that takes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._inboxes: dict[str, set[str]] = {}
        """By run."""
        self._of_namespace: dict[str, SummaryReply | None] = {}
        """By inbox: what was told last."""

    def note(self, request: Request[Any]) -> None:
        """Take note of whom a request has follow what, before it is carried out."""
        match request:
            case Follow():
                for one in request.runs:
                    self._inboxes.setdefault(one.id, set()).add(request.inbox)
            case FollowNamespace():
                self._of_namespace.setdefault(request.inbox, None)

    def take(self, changed: Iterable[Run]) -> list[tuple[str, Struct]]:
        """Return what is to be told to which inbox of runs that have changed."""
        store = self._store
        runs = {run.id: run for run in changed}
        recorded, store.recorded = store.recorded, {}
        if not self._inboxes and not self._of_namespace:
            return []
        parents = {run.parent.id: run.parent for run in runs.values() if run.parent is not None}
        told: list[tuple[str, Struct]] = []
        for run in {**runs, **recorded, **parents}.values():
            if inboxes := self._inboxes.get(run.id):
                news = FeedNews([feed_of(store, run)])
                told += ((inbox, news) for inbox in sorted(inboxes))
                if run.is_over:
                    del self._inboxes[run.id]
        return told + self._summaries()

    def _summaries(self) -> list[tuple[str, Struct]]:
        now = summary(self._store, Summary()) if self._of_namespace else None
        changed = [inbox for inbox, before in self._of_namespace.items() if now is not None and before != now]
        self._of_namespace |= dict.fromkeys(changed, now)
        return [(inbox, now) for inbox in changed if now is not None]


def feed_of(store: Store, run: Run) -> RunFeed:
    """Return a run in full, as if whoever is told had seen nothing of it."""
    looked = None if run.session is None else store.look(run.session, run.id, LOOKED_MOST)
    kin = _kin(run) if run.children else rules.NO_KIN
    told, started = rules.outcomes(_written(run))
    status = explained(store, run)
    return RunFeed(
        now=store.now(),
        run=status,
        since=0,
        journal_seq=len(run.life.journal),
        history_seq=len(run.lines),
        outcomes=told[-FOLLOWED_CALLS:],
        open=rules.open_calls(status, _tries(store, run), looked, kin),
        done=len(told),
        failed=sum(not one.ok for one in told),
        children=dict(kin.states),
        explained=None if run.is_over else _explained(store, run, looked),
        started=started,
    )


def _explained(store: Store, run: Run, looked: Looked | None) -> Any:
    (found,) = why(store, Why([run.id], look=looked is not None)).runs
    return found


def _written(run: Run) -> list[Written]:
    tries: Counter[str] = Counter()
    started: dict[str, int] = {}
    for (key, number), one in run.life.tries.items():
        tries[key] = max(tries[key], number + (not (is_start(one) or is_under_way(one))))
        if one.started is not None:
            started[key] = min(started.get(key, one.started), one.started)
    return [
        Written(
            place,
            one.key,
            one.ok,
            one.at,
            bytes(one.value),
            started.get(one.key, one.started) if is_task(one.key) else one.started,
            None,
            tries[one.key],
        )
        for place, one in enumerate(run.life.journal, 1)
    ]


def _tries(store: Store, run: Run) -> list[Tried]:
    ended = {entry.key for entry in run.life.journal}
    last: dict[str, Attempt] = {key: one for (key, _), one in sorted(run.life.tries.items())}
    return [
        Tried(
            one.key,
            one.attempt,
            None if is_start(one) or is_under_way(one) else bytes(one.error),
            one.next_at,
            None if one.details == NULL else bytes(one.details),
            one.started,
        )
        for key, one in last.items()
        if key != DETAILS and key not in ended and (_runs(one) or (one.next_at or 0) > store.now())
    ]


def _runs(one: Attempt) -> bool:
    return is_start(one) or is_under_way(one)


def _kin(run: Run) -> Kin:
    mine = (one for one in run.children.values() if one.generation == run.generation)
    links = list(islice(mine, FOLLOWED_CHILDREN))
    children = {one.child.id: (one, one.child.newest) for one in links}
    states: Counter[State] = Counter(child.state for _, child in children.values())
    open = [Child(child.id, child.workflow, link.created_at) for link, child in children.values() if not child.is_over]
    return Kin(dict(states), open[:_OPEN_CHILDREN])
