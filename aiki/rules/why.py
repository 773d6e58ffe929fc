"""Own why a run does not move: which reasons follow from what is on record of it, and what its worker says. Pure.

Whoever keeps runs reads the facts, in Postgres or in memory; the words are `core.why`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec.structs import replace

from aiki.core.keys import EVENT, is_of_ends, kind_of, name_of, task_of, timer_of
from aiki.core.reasons import Kind, Reason
from aiki.core.states import TERMINAL, Move, State
from aiki.core.why import DIVERGED
from aiki.core.words import paused_by
from aiki.rules.controlling import WAKE
from aiki.rules.crashing import is_suspect
from aiki.wire import messages
from aiki.wire.codec import decoder
from aiki.wire.messages import Attempt, CancelNote, Failure, ImportedFrom, RunStatus, TaskProgress

COUNTED: Final = 10_000
"""Runs that are counted before one, and no further."""
DEPTH: Final = 100
"""Runs through which it is followed who waits for whom."""
CHILDREN: Final = 500
"""Children of a run that are looked at, of the oldest and of the newest."""
_RENEWALS: Final = 2
"""Of a lease of three such parts a worker renews it at each: after two it is late."""


class Told(NamedTuple):
    """A line of a run's story."""

    at: int
    move: str
    reason: str | None = None
    actor: str | None = None


class Hold(NamedTuple):
    """The session that holds a run; without a lease in memory."""

    worker: str
    session: str
    expires_at: int | None = None
    ttl: int | None = None

    @property
    def renewed_at(self) -> int | None:
        """When its lease was renewed last."""
        return None if self.expires_at is None or self.ttl is None else self.expires_at - self.ttl


class Service(NamedTuple):
    """Who serves the workflow of a queued run."""

    workers: int = 0
    """Live ones that serve its route."""
    held: int = 0
    """Runs that these have."""
    versions: Sequence[str] = ()
    """Which versions live workers serve, if its own is not among them."""
    last_at: int | None = None
    """When the last session that served it ended; None if none did, as far as is known."""
    is_known: bool = False
    """Whether a worker has ever registered it."""


class Queue(NamedTuple):
    """How many runs of a route are claimed before one: no more than COUNTED and one of each kind are counted."""

    higher: int = 0
    earlier: int = 0
    per_second: float | None = None
    """How many of the route have ended in a second lately; None if that is not known."""


class Kin(NamedTuple):
    """The children of a run that have not ended, as far as it was looked: the oldest first."""

    open: int = 0
    total: int = 0
    is_all: bool = True
    oldest: tuple[str, str, State] | None = None
    """Its id, workflow and state."""


class Wanted(NamedTuple):
    """The key of a task that another run has."""

    task: str
    key: str
    holder: str | None
    at: int
    worker: str | None = None
    """On which a try still runs that the holder has left, and nobody could stop."""


class Timetable(NamedTuple):
    """The schedule that a run is of."""

    name: str
    paused: bool = False
    note: str = ""
    behind: int = 0
    """Slots that wait for a run of it to end."""


class Tried(NamedTuple):
    """A try that runs, as its worker tells."""

    task: str
    attempt: int
    started_at: int
    beat_at: int | None = None
    fraction: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """What stands in the memory of the worker that holds a run."""

    tries: Sequence[Tried] = ()
    running: int = 0
    """All tries that run."""
    calls: Sequence[str] = ()
    """The keys of calls that its body waits for."""
    wakes_at: int | None = None
    lingers_since: int | None = None
    held_back: str | None = None
    """Why what is ready does not go on, in words."""

    @property
    def awaits_children(self) -> bool:
        """Whether its body waits for ends of children."""
        return any(map(is_of_ends, self.calls))


def looked_of(told: messages.Looked) -> Looked:
    """Return what a worker tells, as it is judged by."""
    tries = [
        Tried(
            one.task,
            one.attempt,
            told.now if one.started is None else one.started,
            one.spoke_at,
            one.fraction,
            one.message,
        )
        for one in told.tries
    ]
    return Looked(tries, told.running, told.calls, told.wakes_at, told.lingers_since, told.held_back)


_NO_SERVICE: Final = Service()
_NO_QUEUE: Final = Queue()
_NO_KIN: Final = Kin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is on record of a run at `now`, as far as its state makes it matter."""

    now: int
    run: RunStatus
    last: Told
    """The last line that moved it."""
    claimed: Told | None = None
    """Its last claim: `actor` is the worker."""
    crash_count: int = 0
    wanted: bool = False
    """Whether a pause is."""
    cancel: CancelNote | None = None
    cancel_at: int | None = None
    attempts: int | None = None
    """How many of the workflow itself there are, if its run says so."""
    due: Attempt | None = None
    """The try of a task that is due again first."""
    said: Sequence[TaskProgress] = ()
    """Of tries that run, what they have said, the last first."""
    hold: Hold | None = None
    service: Service = _NO_SERVICE
    queue: Queue = _NO_QUEUE
    kin: Kin = _NO_KIN
    keys: Sequence[Wanted] = ()
    timetable: Timetable | None = None
    unread: Sequence[str] = ()
    """The names of its unread events, as far as they were read."""
    looked: Looked | None = None
    was_asked: bool = False
    """Whether its worker was asked what stands in memory."""


def reasons(facts: Facts) -> list[Reason]:
    """Return why the run stands where it does, the main reason first, and what is to be known beside that."""
    return [*_main(facts), *_beside(facts)]


def next_run(of: Sequence[Reason]) -> str | None:
    """Return the other run for which one waits by its main reason, or which goes on in its place."""
    main = of[0]
    # What a run has left that could not be stopped ends with its worker, whatever becomes of the run.
    is_left = main.kind == Kind.KEY and main.worker is not None
    return main.run if main.kind in (Kind.CHILD, Kind.KEY, Kind.ENDED) and not is_left else None


def _main(facts: Facts) -> list[Reason]:
    run, since = facts.run, facts.last.at
    if run.imported is not None:
        return [_imported(run.imported)]
    if run.state in TERMINAL:
        return [_ended(run)]
    match run.state:
        case State.BLOCKED:
            return [_blocked(facts)]
        case State.PAUSED:
            actor, note = paused_by(run.why)
            return [Reason(kind=Kind.PAUSED, since=since, actor=actor or facts.last.actor, note=note)]
        case State.SCHEDULED:
            return [Reason(kind=Kind.SCHEDULED, until=run.due_at)]
        case State.QUEUED:
            return [_queued(facts)]
        case State.SLEEPING:
            return [Reason(kind=Kind.SLEEPING, since=since, until=run.due_at)]
        case State.RETRYING:
            return [_retrying(facts)]
        case State.RUNNING:
            return _running(facts)
        case _:
            return _waiting(facts)


def _imported(of: ImportedFrom) -> Reason:
    return Reason(
        kind=Kind.IMPORTED, since=of.imported_at, actor=of.actor, names=[of.namespace], state=of.state, message=of.why
    )


def _ended(run: RunStatus) -> Reason:
    failure = decoder(Failure).decode(run.error) if run.error else None
    return Reason(
        kind=Kind.ENDED,
        since=run.finished_at,
        state=run.state,
        run=run.retried_by,
        error=failure and failure.type,
        # Of one that is cancelled who wanted that; else what its body did wrong without failing by it.
        message=run.why if failure is None else failure.message,
    )


def _blocked(facts: Facts) -> Reason:
    why = facts.run.why or ""
    cause = why.partition(":")[0]
    worker = facts.claimed.actor if facts.claimed is not None and cause == "crash_loop" else None
    cause = DIVERGED if cause == DIVERGED or facts.last.move == Move.DIVERGE else cause
    return Reason(kind=Kind.BLOCKED, since=facts.last.at, error=cause, message=why, worker=worker)


def _queued(facts: Facts) -> Reason:
    run, service, queue, since = facts.run, facts.service, facts.queue, facts.last.at
    if not service.workers:
        return Reason(
            kind=Kind.UNSERVED,
            since=since,
            workflow=run.workflow,
            version=run.version,
            versions=sorted(service.versions),
            until=service.last_at,
            state="known" if service.is_known else None,
        )
    ahead = queue.higher + queue.earlier
    kind = Kind.ALONE if is_suspect(facts.crash_count) else Kind.BEHIND if ahead else Kind.NEXT
    is_behind = kind is Kind.BEHIND
    return Reason(
        kind=kind,
        since=since,
        workers=service.workers,
        held=service.held,
        count=facts.crash_count,
        ahead=min(ahead, COUNTED) if is_behind else 0,
        higher=min(queue.higher, COUNTED) if is_behind else 0,
        capped=is_behind and ahead > COUNTED,
        estimate=round(min(ahead, COUNTED) / queue.per_second * 1e6) if is_behind and queue.per_second else None,
    )


def _retrying(facts: Facts) -> Reason:
    run, since = facts.run, facts.last.at
    if facts.last.move == Move.BACK_OFF:
        worker = None if facts.claimed is None else facts.claimed.actor
        return Reason(kind=Kind.BACKING_OFF, since=since, until=run.due_at, count=facts.crash_count, worker=worker)
    if facts.last.move == Move.AGAIN:
        return Reason(
            kind=Kind.AGAIN, since=since, until=run.due_at, attempt=run.attempt, of=facts.attempts, message=run.why
        )
    if facts.due is not None:
        return _tried(facts.due, since)
    return Reason(kind=Kind.AGAIN, since=since, until=run.due_at, attempt=run.attempt, message=run.why)


def _tried(due: Attempt, since: int | None, *, worker: str | None = None) -> Reason:
    failure = decoder(Failure).decode(due.error)
    return Reason(
        kind=Kind.RETRYING,
        since=since,
        until=due.next_at,
        task=task_of(due.key),
        attempt=due.attempt,
        error=failure.type,
        message=failure.message,
        worker=worker,
    )


def _waiting(facts: Facts) -> list[Reason]:
    """Return what a run rests for that has left memory: a key and a child first, which lead on to other runs."""
    run, since = facts.run, facts.last.at
    names = [word.partition(":")[2] for word in run.waits if word.partition(":")[0] == EVENT]
    found = [
        Reason(kind=Kind.KEY, since=one.at, task=one.task, key=one.key, run=one.holder, worker=one.worker)
        for one in facts.keys
    ]
    if "child" in run.waits:
        found.append(_child(facts.kin, since, None if names else run.due_at))
    if names:
        found.append(Reason(kind=Kind.EVENT, since=since, until=run.due_at, names=names))
    if WAKE in run.waits and run.due_at is not None:
        found.append(Reason(kind=Kind.SLEEPING, since=since, until=run.due_at))
    return found or [Reason(kind=Kind.OUTCOME, since=since, until=run.due_at)]


def _child(kin: Kin, since: int | None, until: int | None) -> Reason:
    if kin.oldest is None:
        return Reason(kind=Kind.CHILD, since=since, until=until, total=kin.total)
    run_id, workflow, state = kin.oldest
    return Reason(
        kind=Kind.CHILD,
        since=since,
        until=until,
        run=run_id,
        workflow=workflow,
        state=state,
        count=kin.open,
        total=kin.total,
        capped=not kin.is_all,
    )


def _running(facts: Facts) -> list[Reason]:
    hold, claimed = facts.hold, facts.claimed
    since = None if claimed is None else claimed.at
    if hold is None:
        return [Reason(kind=Kind.FROZEN, since=since, worker=claimed and claimed.actor)]
    if hold.expires_at is not None and hold.ttl is not None and hold.renewed_at is not None:
        silent = facts.now - hold.renewed_at
        if silent > hold.ttl * _RENEWALS / 3:
            return [
                Reason(
                    kind=Kind.FROZEN, since=since, worker=hold.worker, renewed=hold.renewed_at, until=hold.expires_at
                )
            ]
    known = _in_memory(facts, hold.worker)
    if known is None:
        note = None if facts.looked is None else facts.looked.held_back
        known = Reason(kind=Kind.RUNNING, since=since, worker=hold.worker, renewed=hold.renewed_at, note=note)
    unknown = facts.was_asked and facts.looked is None
    return [known, *([Reason(kind=Kind.UNKNOWN, worker=hold.worker)] if unknown else [])]


def _in_memory(facts: Facts, worker: str) -> Reason | None:
    """Return what a run does in its worker's memory: as that says, or else as its tries have told on record."""
    looked = facts.looked
    if looked is not None and looked.tries:
        first = min(looked.tries, key=lambda one: one.started_at)
        return Reason(
            kind=Kind.TASK,
            since=first.started_at,
            worker=worker,
            task=first.task,
            attempt=first.attempt,
            beat=first.beat_at,
            fraction=first.fraction,
            message=first.message or None,
            count=max(looked.running, len(looked.tries)),
        )
    if facts.due is not None:
        return _tried(facts.due, None, worker=worker)
    if looked is not None and looked.held_back is None and looked.calls:
        return _lingering(facts.kin, looked, worker)
    if looked is None and facts.said:
        said = facts.said[0]
        return Reason(
            kind=Kind.TASK,
            worker=worker,
            task=task_of(said.key),
            attempt=said.attempt,
            beat=said.at,
            fraction=said.fraction,
            message=said.message or None,
            count=len(facts.said),
        )
    return None


def _lingering(kin: Kin, looked: Looked, worker: str) -> Reason:
    """Return what a run waits for that has not left its worker's memory, as if it had."""
    since, until = looked.lingers_since, looked.wakes_at
    names = [name for key in looked.calls if kind_of(key) == EVENT for name in name_of(key).split("|")]
    if looked.awaits_children and kin.oldest is not None:
        return replace(_child(kin, since, until), worker=worker)
    if names:
        return Reason(kind=Kind.EVENT, since=since, until=until, names=names, worker=worker)
    if all(timer_of(key) is not None for key in looked.calls):
        return Reason(kind=Kind.SLEEPING, until=until, worker=worker)
    said = [f"{kind_of(key)} {name_of(key)}" for key in looked.calls]
    return Reason(kind=Kind.LINGERING, since=since, until=until, names=said, worker=worker)


def _beside(facts: Facts) -> Iterator[Reason]:
    run = facts.run
    if facts.timetable is not None:
        yield from _scheduled(facts.timetable)
    if run.state in TERMINAL or run.imported is not None:
        return
    if facts.cancel is not None:
        held = None if facts.hold is None else facts.hold.worker
        yield Reason(
            kind=Kind.CANCEL,
            since=facts.cancel_at,
            actor=facts.cancel.actor,
            note=facts.cancel.why,
            message=facts.cancel.words(),
            worker=held,
        )
    if facts.wanted:
        actor, note = paused_by(run.why)
        yield Reason(kind=Kind.PAUSE_WANTED, actor=actor, note=note)
    if run.deadline is not None:
        yield Reason(kind=Kind.DEADLINE, until=run.deadline)
    names = sorted({*facts.unread} - {word.partition(":")[2] for word in run.waits})
    if names and run.state is State.WAITING:
        yield Reason(kind=Kind.UNREAD, count=run.unread, names=names)


def _scheduled(of: Timetable) -> Iterator[Reason]:
    if of.paused:
        yield Reason(kind=Kind.SCHEDULE_PAUSED, names=[of.name], note=of.note or None)
    if of.behind:
        yield Reason(kind=Kind.SLOTS_BEHIND, names=[of.name], count=of.behind)
