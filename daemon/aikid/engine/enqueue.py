"""Enqueue runs for many callers in one commit: each id is one run for ever, each key one run per workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from aiki.core.errors import AikiError, UsageError
from aiki.core.failpoints import failpoint
from aiki.core.states import State
from aiki.rules.checking import check_run
from aiki.rules.enqueueing import Stored, meet, refused
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Enqueue, Enqueued, EnqueueReply, NewRun
from aikid.engine import conflicts, first_events
from aikid.engine.arrivals import note
from aikid.engine.changes import Born, Changes, Done
from aikid.engine.handing import handed
from aikid.engine.leaves import NO_LEAVES, Given, Leaves, rows_of
from aikid.engine.routes import RouteKey, Routes
from aikid.store import enqueue as store
from aikid.store import prepared
from aikid.store.enqueue import Inserted, Leave, Row
from aikid.store.inbox import Reached
from aikid.store.pool import Connection, Pool


async def enqueue(
    pool: Pool, routes: Routes, calls: Sequence[tuple[str, Enqueue]], *, room: int, leaves: Leaves = NO_LEAVES
) -> Done[EnqueueReply | AikiError]:
    """Carry out all calls, pairs of namespace and request, in one commit. Raises Unavailable.

    A run that no claim's reply of `room` bytes could bring to a worker is refused. One that a worker has leave for is
    claimed for it in the same commit.
    """
    answers: list[list[Enqueued | None] | AikiError] = []
    rows: list[Row] = []
    places: list[tuple[int, int]] = []
    for number, (namespace, request) in enumerate(calls):
        if len(request.runs) > BATCH_RUNS:
            answers.append(UsageError(f"one request enqueues at most {BATCH_RUNS} runs, not {len(request.runs)}"))
            continue
        answer: list[Enqueued | None] = []
        for place, run in enumerate(request.runs):
            refusal = _refusal(run, room)
            answer.append(refusal)
            if refusal is None:
                rows.append((namespace, run))
                places.append((number, place))
        answers.append(answer)
    undeclared = await first_events.undeclared(pool, rows)
    for place in sorted(undeclared, reverse=True):
        rows.pop(place)
        _put(answers, places.pop(place), undeclared[place])
    if not rows:
        return Done([_reply(answer) for answer in answers])
    wrote = await _write(pool, routes, rows, leaves, room=room)
    for at, result in zip(places, wrote.results, strict=True):
        _put(answers, at, result)
    changes = Changes(born=[Born(calls, wrote.inserted.now, wrote.others)], due_seconds=wrote.inserted.due_seconds)
    changes.made(rows, wrote.inserted.made, wrote.inserted.now)
    for route in wrote.queued:
        changes.queued[route] += 1
    changes.handed = [handed(given, rows, wrote.inserted.now, wrote.running) for given in wrote.given]
    changes.add(wrote.retried)
    note(changes, wrote.reached)
    return Done([_reply(answer) for answer in answers], changes)


def _put(answers: list[list[Enqueued | None] | AikiError], at: tuple[int, int], answer: Enqueued) -> None:
    number, place = at
    answer_list = answers[number]
    assert isinstance(answer_list, list)
    answer_list[place] = answer


def _reply(answer: list[Enqueued | None] | AikiError) -> EnqueueReply | AikiError:
    if isinstance(answer, AikiError):
        return answer
    return EnqueueReply([item for item in answer if item is not None])


def _refusal(run: NewRun, room: int) -> Enqueued | None:
    try:
        check_run(run, room=room)
    except AikiError as error:
        return refused(run.id, error)
    return None


@dataclass(frozen=True, slots=True)
class _Wrote:
    """The outcome of each row, the route of each run that waits now, and the ids that were not born queued."""

    results: list[Enqueued]
    inserted: Inserted
    queued: list[RouteKey]
    others: frozenset[str]
    running: Mapping[str, int] = field(default_factory=dict)
    """Runs that stand under the claims that this call offered: since when."""
    given: list[Given] = field(default_factory=list)
    holders: Mapping[int, Stored] = field(default_factory=dict)
    """Those that had the keys of rows, by their places."""
    retried: Changes = field(default_factory=Changes)
    """What has come of those of them that were retried."""
    reached: Reached = field(default_factory=Reached)
    """Whom the events have reached that runs were sent."""


async def _write(pool: Pool, routes: Routes, rows: Sequence[Row], leaves: Leaves, *, room: int) -> _Wrote:
    # Before the runs: a crash between the two must not leave queued runs on a route that no offerer knows.
    await routes.learn({_route(row) for row in rows})
    offers = leaves.offer(rows, room=room)
    asked = rows_of(offers, rows)

    async def work(connection: Connection) -> _Wrote:
        failpoint("enqueue.before_commit")
        if not any(map(_is_more, rows)):
            return await _insert(connection, rows, asked)
        async with prepared.transaction(connection):
            return await _insert_more(connection, rows, asked)

    if not offers:
        return await pool.run(work)
    running: Mapping[str, int] = {}
    try:
        wrote = await pool.run(work)
        running = wrote.running
    finally:
        given = leaves.close(offers, rows, running)
    for offer in offers:
        if offer.line.session not in wrote.inserted.live:
            leaves.forget(offer.line)
    return replace(wrote, given=given)


def _is_more(row: Row) -> bool:
    """Tell whether a row asks for more than to be stored, or found."""
    options = row[1].options
    return options.send is not None or options.on_conflict in ("retry_failed", "restart")


async def _insert_more(connection: Connection, rows: Sequence[Row], asked: Sequence[Leave]) -> _Wrote:
    await conflicts.free(connection, rows)
    wrote = await _insert(connection, rows, asked)
    results, changes = await conflicts.retry(connection, rows, wrote.results, wrote.holders)
    results, reached = await first_events.bring(connection, rows, results)
    return replace(wrote, results=results, reached=reached, retried=changes)


async def _insert(connection: Connection, rows: Sequence[Row], asked: Sequence[Leave]) -> _Wrote:
    inserted = await store.insert(connection, rows, asked)
    if inserted.made is not None:
        return await _tell_apart(connection, rows, inserted, asked)
    started = inserted.later | inserted.running
    queued = [_route(row) for row in rows if row[1].id not in started]
    running = dict.fromkeys(inserted.running, inserted.now)
    return _Wrote([Enqueued(run.id) for _, run in rows], inserted, queued, inserted.later, running)


async def _tell_apart(
    connection: Connection, rows: Sequence[Row], inserted: Inserted, asked: Sequence[Leave]
) -> _Wrote:
    by_id = await store.find_by_id(connection, [run.id for _, run in rows])
    by_key = await store.find_by_key(connection, [row for row in rows if row[1].id not in by_id])
    holders = {
        place: holder
        for place, (namespace, run) in enumerate(rows)
        if (holder := by_key.get((namespace, run.workflow, run.options.key or ""))) is not None and run.id not in by_id
    }
    results = [
        meet(namespace, run, by_id.get(run.id), holders.get(place)) for place, (namespace, run) in enumerate(rows)
    ]
    # Of a repeat too: whoever carried out the first may have died before it told of it.
    waiting = {
        row[1].id: _route(row)
        for row, result in zip(rows, results, strict=True)
        if result.error is None and (stored := by_id.get(row[1].id)) is not None and stored.state is State.QUEUED
    }
    born = (inserted.made or frozenset()) - inserted.later
    others = frozenset(run.id for _, run in rows if run.id not in born)
    # If the connection was lost after the commit, this is the repeat: its runs stand under our own claims already, and
    # nobody but us can tell the worker.
    running = await store.held(connection, asked) if asked else {}
    return _Wrote(results, inserted, list(waiting.values()), others, running, holders=holders)


def _route(row: Row) -> RouteKey:
    namespace, run = row
    return namespace, run.workflow, run.version
