"""Own all runs of one engine, and the one place where a run's standing changes: with it go queues and due times.

What a request leaves to be told of stands here until the engine tells it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from msgspec import Raw

from aiki.core.errors import NotFound
from aiki.core.retention import GONE
from aiki.core.states import Move, State, sources
from aiki.rules import arriving
from aiki.rules.codes import Code, Registered
from aiki.rules.policies import Known
from aiki.rules.sharing import KeyRow
from aiki.rules.standing import Standing
from aiki.testing.memory.queues import Queues
from aiki.testing.memory.run import Deadline, Link, RouteKey, Run
from aiki.testing.memory.schedule import Schedule
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import NONE, Arrival, Looked, Route, Told

NAMESPACE: Final = "default"
"""The one that all stands in."""
_DATED: Final = sources(Move.DUE)


@dataclass(eq=False, slots=True)
class Session:
    """A worker's. It has no lease: it lives until it is closed, or the engine is told that its worker died."""

    id: str
    worker: str
    ttl: float
    routes: set[RouteKey] = field(default_factory=set)
    codes: dict[RouteKey, Code] = field(default_factory=dict)
    is_alive: bool = True
    ended_at: int | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    """Those that it holds."""
    opened_at: int = 0
    seen_at: int | None = None
    """When it was renewed last."""
    slots: int | None = None
    draining: bool = False

    def hold(self, run: Run) -> None:
        """Take note that a run was claimed."""
        run.session = self.id
        self.runs[run.id] = run


class Telling(NamedTuple):
    """Who is to hear of the end of a run, by which start, and in which of its generations."""

    hearer: Run
    start_id: str
    generation: int
    child: Run


class Closing(NamedTuple):
    """A run that has ended, or is to, and the children that it has started."""

    run: Run
    links: Sequence[Link]


class KeyId(NamedTuple):
    """Which key it is, of all in the namespace."""

    scope: str
    task: str
    key: str


@dataclass(eq=False, slots=True)
class Waiter:
    """A call that waits for a key; times in microseconds."""

    run: Run
    generation: int
    call: str
    told_at: int | None = None
    """When it was told that it may ask again; None if it has not been since it asked."""


@dataclass(eq=False, slots=True)
class TaskKey:
    """One key."""

    row: KeyRow | None = None
    value: Raw = field(default_factory=lambda: NONE)
    waiters: dict[str, Waiter] = field(default_factory=dict)
    """By the ids of their runs, who waits longest first."""


class Store:
    """The runs of one engine, in one namespace. `now` is its clock: microseconds since 1970.

    `room` is how many bytes a message may have.
    """

    def __init__(self, now: Callable[[], int], *, room: int = MESSAGE_BYTES) -> None:
        self.now = now
        self.room = room
        self.look: Callable[[str, str, int], Looked | None] = _nobody
        """Asks the worker of a session what stands of a run in its memory; None if there is none to ask."""
        self.runs: dict[str, Run] = {}
        self.keys: dict[tuple[str, str], Run] = {}
        """Who holds the idempotency key of a workflow: the newest of its origin."""
        self.task_keys: dict[KeyId, TaskKey] = {}
        self.routes: dict[RouteKey, Route | None] = {}
        """Those that were ever enqueued to, with what a worker has said of them."""
        self.codes: dict[RouteKey, Registered] = {}
        """The code of each that workers have registered."""
        self.coded_at: dict[RouteKey, tuple[int, str]] = {}
        """Since when that is its code, and by which worker."""
        self.sessions: dict[str, Session] = {}
        self.schedules: dict[str, Schedule] = {}
        """By name."""
        self.policies: dict[str, Known] = {}
        """What projects say of retention, by workflow."""
        self.ends = 0
        """How many runs have ended."""
        self.queued = Queues()
        self.telling: deque[Telling] = deque()
        self.closing: deque[Closing] = deque()
        self.changed: dict[str, Run] = {}
        """Runs that go on otherwise than when the engine told of them last."""
        self.recorded: dict[str, Run] = {}
        """Runs that have recorded something, or that something has reached, since then."""
        self.told: dict[tuple[str, str], int] = {}
        """By session and run: the number up to which something has reached a run that a worker holds."""
        self.came: dict[str, list[Arrival]] = {}
        """What has reached these, where that is little."""
        self.born = 0
        """How many runs were made since the engine told of anything last."""
        self.has_queued = False
        """Whether any run was queued since the engine told of that last."""
        self._dates: list[tuple[int, int, Run]] = []
        self._created_at = 0
        self._count = 0

    # -- runs

    def add(self, run: Run) -> None:
        """Take in a new run; its route is known from then on."""
        self.runs[run.id] = run
        self.routes.setdefault(run.route, None)
        self.changed[run.id] = run
        self._placed(run)

    def find(self, run_id: str) -> Run:
        """Return the run of an id. Raises NotFound."""
        if (run := self.runs.get(run_id)) is None:
            raise no_run(run_id)
        return run

    def forget(self, runs: Iterable[Run]) -> None:
        """Let go of runs that have ended, and of the keys that they hold."""
        for run in runs:
            del self.runs[run.id]
            self.changed.pop(run.id, None)
            self.recorded.pop(run.id, None)
            key = (run.workflow, run.options.key or "")
            if self.keys.get(key) is run:
                del self.keys[key]

    def created_at(self) -> int:
        """Return when a run is stored now: each later than the one before, which lists and claims go by."""
        self._created_at = max(self.now(), self._created_at + 1)
        return self._created_at

    def born_at(self) -> int:
        """Return when a run comes to be that is made now: each of one commit a microsecond behind the one before."""
        self.born += 1
        return self.now() + self.born - 1

    def reopen_slot(self, run: Run) -> None:
        """Have the slot of a run that is retried be open again."""
        fired = run.options.fired
        schedule = None if fired is None else self.schedules.get(fired.schedule)
        if fired is not None and schedule is not None:
            schedule.reopen(fired.kind, fired.slot, run.origin_id)

    def reroute(self, run: Run, version: str) -> None:
        """Have a run be of another version of its workflow, which is known from then on."""
        is_queued = run.state is State.QUEUED
        if is_queued:
            self.queued.drop(run)
        run.version = version
        self.routes.setdefault(run.route, None)
        self.changed[run.id] = run
        if is_queued:
            self.queued.put(run)
            self.has_queued = True

    # -- how they stand

    def stand(self, run: Run, after: Standing) -> None:
        """Have a run stand so from now on."""
        before, run.standing = run.standing, after
        if after.state is not before.state:
            self._left(run, before.state)
            self._placed(run)
        elif after.due_at != before.due_at and after.state in _DATED:
            self._placed(run)

    def move(
        self,
        run: Run,
        after: Standing,
        move: str,
        *,
        why: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
        length: int | None = None,
    ) -> None:
        """Have a run stand so, and tell it in its story; `why` is what its status says of it since."""
        run.tell(self.now(), move, reason=reason, actor=actor, length=length)
        run.why = why
        self.stand(run, after)

    def _left(self, run: Run, before: State) -> None:
        self.changed[run.id] = run
        if before is State.QUEUED:
            self.queued.drop(run)
        elif run.session is not None:
            del self.sessions[run.session].runs[run.id]
            run.session = None
        if run.is_over:
            self.ends += 1
            run.finished_at = self.now()
            self._leave_errands(run)

    def _leave_errands(self, run: Run) -> None:
        self.close_children(run)
        if run.parent is not None:
            # The child's id is that of its start, also if it is a retry: its origin's.
            self.telling.append(Telling(run.parent, run.origin_id, run.parent_generation, run))
        self.telling += [Telling(one.parent, one.start_id, one.generation, run) for one in run.hearers]

    def close_children(self, run: Run) -> None:
        """Have the children that a run has started end, as far as they shall not outlive what it has come to."""
        # Whom it starts from here on is none of those: it may be what takes back what the others did.
        links = [link for link in run.children.values() if link.owned]
        if links:
            run.closing += 1
            self.closing.append(Closing(run, links))

    def _placed(self, run: Run) -> None:
        if run.state is State.QUEUED:
            self.queued.put(run)
            self.has_queued = True
        elif run.state in _DATED and run.standing.due_at is not None:
            self._date(run.standing.due_at, run)

    # -- what reaches them

    def reach(self, run: Run, words: Sequence[str]) -> None:
        """Let what has been put into the inbox of a run move it, and have whoever holds it be told."""
        after = arriving.reached(run.standing, words)
        if after.state is run.state:
            self.stand(run, after)
            self.tell(run)
        else:
            reason = next(word for word in words if word in run.standing.waits)
            self.move(run, after, Move.ARRIVE, reason=reason)

    def tell(self, run: Run, came: Iterable[Arrival] = ()) -> None:
        """Have whoever holds a run be told up to which number something has reached it."""
        self.recorded[run.id] = run
        if run.session is not None:
            self.told[run.session, run.id] = run.inbox.news
            self.came.setdefault(run.id, []).extend(came)

    def take_told(self) -> dict[str, Told]:
        """Return what is to be told to the sessions that hold runs which something has reached; it counts as told."""
        told: dict[str, Told] = {}
        for (session, run_id), news in self.told.items():
            one = told.setdefault(session, Told([]))
            one.runs.append((run_id, news))
            came = self.came.get(run_id)
            if came and came[0].number + len(came) == news + 1:
                one.arrivals[run_id] = came
        self.told, self.came = {}, {}
        return told

    # -- dates

    def watch(self, run: Run, deadline: Deadline | None) -> None:
        """Have a run's deadline be looked at when it says."""
        run.deadline = deadline
        if deadline is not None and deadline.look_at is not None:
            self._date(deadline.look_at, run)

    def _date(self, at: int, run: Run) -> None:
        self._count += 1
        heapq.heappush(self._dates, (at, self._count, run))

    def due_at(self) -> int | None:
        """Return when the first run is due, or its deadline; None if there is neither."""
        while self._dates and not _is_date_of(*self._dates[0]):
            heapq.heappop(self._dates)
        return self._dates[0][0] if self._dates else None

    def pop_due(self) -> Iterator[Run]:
        """Yield the runs of which something is due, in order, until nothing is."""
        while (at := self.due_at()) is not None and at <= self.now():
            yield heapq.heappop(self._dates)[2]

    # -- who serves them

    def is_served(self, route: RouteKey) -> bool:
        """Tell whether a live worker serves a route."""
        return any(one.is_alive and route in one.routes for one in self.sessions.values())


def no_run(run_id: str) -> NotFound:
    """Return the error for a run that does not exist."""
    return NotFound(
        f"there is no run {run_id[:64]!r} in namespace {NAMESPACE!r}: {GONE}", hint="await client.runs.list()"
    )


def _is_date_of(at: int, _count: int, run: Run) -> bool:
    """Tell whether a date is still one of its run's."""
    deadline = run.deadline
    is_due = run.state in _DATED and run.standing.due_at == at
    return is_due or (deadline is not None and deadline.look_at == at and not run.is_over)


def _nobody(session: str, run_id: str, items: int) -> None:
    """Know nothing of a session."""
