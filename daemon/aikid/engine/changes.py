"""Own what a commit changed, as a value: routes queued, runs born, claimed, ended or changed, the next due time.

A use case returns it with its replies; whoever tells of it needs no other word. It says what happened and never whom
that concerns. One is made for a batch: nothing here is made for a run that would not be anyway.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from aiki.core.states import State
from aiki.wire.messages import Arrival, Claimed, Enqueue, Unit
from aikid.engine.leaves import Line
from aikid.engine.routes import RouteKey
from aikid.store.enqueue import Row
from aikid.store.task_keys import KeyId

R = TypeVar("R")

RunKey: TypeAlias = tuple[str, str]
"""Namespace and run id."""


@dataclass(slots=True)  # not frozen: one is made per run, and that would cost four times as much
class Ended:
    """A run whose claim ended by a commit. `tasks` counts task outcomes, if someone watched the run before.

    Of one that has ended it is said of which route it is, and since when it was under way.
    """

    unit: Unit
    now: int
    started_at: int
    tasks: int | None
    state: State
    workflow: str | None = None
    version: str | None = None
    since: int | None = None


class Finished(NamedTuple):
    """A run that has ended without a word of its worker: when, by the database's clock.

    And since when it was under way, in microseconds, too.
    """

    route: RouteKey
    run_id: str
    state: State
    now: int
    since: int


@dataclass(slots=True)
class Born:
    """What was enqueued: the requests with their namespaces, and the database's clock when their new runs were born.

    `others` are the runs among them that were not born queued then: due later, or known before.
    """

    calls: Sequence[tuple[str, Enqueue]]
    now: int
    others: frozenset[str]


@dataclass(slots=True)
class Handed:
    """Runs that were born running on a worker, or claimed for it, under one claim, and that it does not know of yet.

    `first` is the number of the first on its line, `now` the database's clock.
    """

    line: Line
    first: int
    now: int
    runs: list[Claimed]


@dataclass(slots=True)
class Changes:
    """What one commit changed, or several that are told together."""

    queued: defaultdict[RouteKey, int] = field(default_factory=lambda: defaultdict(int))
    """How many runs wait for a worker since."""
    woken: defaultdict[RouteKey, int] = field(default_factory=lambda: defaultdict(int))
    """How many of these had begun, and were woken: by what reached them, or because their time has come."""
    claimed: defaultdict[RouteKey, int] = field(default_factory=lambda: defaultdict(int))
    """How many runs a worker took."""
    more: set[RouteKey] = field(default_factory=set)
    """Routes of claims that left others queued."""
    ended: defaultdict[str, list[Ended]] = field(default_factory=lambda: defaultdict(list))
    """Claims that ended as their worker said, by namespace."""
    changed: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Runs that go on otherwise than before, by namespace."""
    recorded: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Runs that have recorded something, or that something has reached, and that go on as before, by namespace."""
    settled: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Runs that came to an end, or to a stop, without a word of their worker, by namespace."""
    told: defaultdict[tuple[str, str], list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    """Runs that workers hold and that something has reached, with the number of that, by namespace and session."""
    came: defaultdict[RunKey, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    """What has reached those runs, where that is known."""
    born: list[Born] = field(default_factory=list)
    enqueued: defaultdict[tuple[RouteKey, int], int] = field(default_factory=lambda: defaultdict(int))
    """How many runs there are since that were not there before, by route and the database's clock then."""
    finished: list[Finished] = field(default_factory=list)
    """Those of `settled` that have ended."""
    handed: list[Handed] = field(default_factory=list)
    due_seconds: float | None = None
    """Until the first of the runs that wait for a time is due."""
    fires_seconds: float | None = None
    """Until the first of the schedules that were changed is to be looked at."""
    errands: int = 0
    """How much may be left to be told: of ends, and to children."""
    keys: list[KeyId] = field(default_factory=list)
    """Keys of tasks that others wait for, and may ask for again."""
    waits_for_keys: bool = False
    """Whether some run waits for such a key since."""

    def due_in(self, seconds: float | None) -> None:
        """Take note that a run is due in so many seconds."""
        if seconds is not None and (self.due_seconds is None or seconds < self.due_seconds):
            self.due_seconds = seconds

    def fires_in(self, seconds: float) -> None:
        """Take note that a schedule is to be looked at in so many seconds."""
        if self.fires_seconds is None or seconds < self.fires_seconds:
            self.fires_seconds = seconds

    def made(self, rows: Iterable[Row], made: Container[str] | None, now: int) -> None:
        """Take note of the runs among the rows of an insert that are new: all of them, if `made` is None."""
        routes = {run.id: (namespace, run.workflow, run.version) for namespace, run in rows}
        for run_id, route in routes.items():
            if made is None or run_id in made:
                self.enqueued[route, now] += 1

    def add(self, other: Changes) -> None:
        """Take in what another commit changed."""
        counts = ((self.queued, other.queued), (self.woken, other.woken), (self.claimed, other.claimed))
        for mine, more in counts:
            for route, count in more.items():
                mine[route] += count
        for at, count in other.enqueued.items():
            self.enqueued[at] += count
        self.finished += other.finished
        for namespace, ended in other.ended.items():
            self.ended[namespace] += ended
        pairs = ((self.changed, other.changed), (self.recorded, other.recorded), (self.settled, other.settled))
        for runs, others in pairs:
            for namespace, ids in others.items():
                runs[namespace] += ids
        for session, told in other.told.items():
            self.told[session] += told
        for run, arrivals in other.came.items():
            self.came[run] += arrivals
        self.more |= other.more
        self.born += other.born
        self.handed += other.handed
        self.due_in(other.due_seconds)
        if other.fires_seconds is not None:
            self.fires_in(other.fires_seconds)
        self.errands += other.errands
        self.keys += other.keys
        self.waits_for_keys |= other.waits_for_keys


@dataclass(slots=True)
class Done(Generic[R]):
    """What a use case returns: a reply to each of its calls in order, and what the rest of the world should know.

    A reply may be the error to answer with, or bytes if it had to be encoded already.
    """

    replies: list[R]
    changes: Changes = field(default_factory=Changes)
