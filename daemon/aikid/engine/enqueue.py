"""Enqueue runs for many callers in one commit: each id is one run for ever, each key one run per workflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aiki.core.errors import AikiError, Conflict, Unavailable, UsageError
from aiki.core.failpoints import failpoint
from aiki.wire.codec import encode
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Enqueue, Enqueued, EnqueueReply, NewRun, Refusal
from aikid.engine.checks import check_run
from aikid.engine.routes import RouteKey, Routes
from aikid.store import enqueue as store
from aikid.store.enqueue import RunRow, Stored
from aikid.store.pool import Connection, Pool, Priority


@dataclass(frozen=True, slots=True)
class EnqueueDone:
    """The replies in order, and what the rest of the daemon should know: new runs per route, the first due time.

    `now` is the database's clock, when the new runs were born.
    """

    replies: list[EnqueueReply | AikiError]
    queued: Counter[RouteKey]
    due_seconds: float | None
    now: int


async def enqueue(pool: Pool, routes: Routes, calls: Sequence[tuple[str, Enqueue]]) -> EnqueueDone:
    """Carry out all calls, pairs of namespace and request, in one commit. Raises Unavailable."""
    answers: list[list[Enqueued | None] | AikiError] = []
    rows: list[RunRow] = []
    places: list[tuple[int, int]] = []
    for number, (namespace, request) in enumerate(calls):
        if len(request.runs) > BATCH_RUNS:
            answers.append(UsageError(f"one request enqueues at most {BATCH_RUNS} runs, not {len(request.runs)}"))
            continue
        answer: list[Enqueued | None] = []
        for place, run in enumerate(request.runs):
            refused = _refusal(run)
            answer.append(refused)
            if refused is None:
                rows.append(_row(namespace, run))
                places.append((number, place))
        answers.append(answer)
    results, due_seconds, now = await _write(pool, routes, rows, [calls[n][1].runs[p] for n, p in places])
    queued: Counter[RouteKey] = Counter()
    for (number, place), row, result in zip(places, rows, results, strict=True):
        answer_list = answers[number]
        assert isinstance(answer_list, list)
        answer_list[place] = result
        if result.error is None and result.created and row.delay_us is None and row.start_us is None:
            queued[row.namespace, row.workflow, row.version] += 1
    return EnqueueDone([_reply(answer) for answer in answers], queued, due_seconds, now)


def _reply(answer: list[Enqueued | None] | AikiError) -> EnqueueReply | AikiError:
    if isinstance(answer, AikiError):
        return answer
    return EnqueueReply([item for item in answer if item is not None])


def _refusal(run: NewRun) -> Enqueued | None:
    try:
        check_run(run)
    except AikiError as error:
        return Enqueued(run.id, created=False, error=Refusal(error.code, error.message))
    return None


def _row(namespace: str, run: NewRun) -> RunRow:
    return RunRow(
        namespace,
        run.id,
        run.workflow,
        run.version,
        run.priority,
        bytes(run.input),
        run.key,
        run.digest,
        encode(run.labels).decode() if run.labels else None,
        run.start_at,
        run.delay,
    )


async def _write(
    pool: Pool, routes: Routes, rows: Sequence[RunRow], runs: Sequence[NewRun]
) -> tuple[list[Enqueued], float | None, int]:
    if not rows:
        return [], None, 0
    # Before the runs: a crash between the two must not leave queued runs on a route that no offerer knows.
    await routes.learn({(row.namespace, row.workflow, row.version) for row in rows})

    async def work(connection: Connection) -> tuple[list[Enqueued], float | None, int]:
        failpoint("enqueue.before_commit")
        made, due_seconds, now = await store.insert(connection, rows)
        if made == len(rows):
            return [Enqueued(row.id) for row in rows], due_seconds, now
        return await _tell_apart(connection, rows, runs), due_seconds, now

    return await pool.run(work, priority=Priority.ENQUEUE)


async def _tell_apart(connection: Connection, rows: Sequence[RunRow], runs: Sequence[NewRun]) -> list[Enqueued]:
    by_id = await store.find_by_id(connection, [row.id for row in rows])
    by_key = await store.find_by_key(connection, [row for row in rows if row.id not in by_id])
    return [
        _outcome(row, run, by_id.get(row.id), by_key.get((row.namespace, row.workflow, row.key or "")))
        for row, run in zip(rows, runs, strict=True)
    ]


def _outcome(row: RunRow, run: NewRun, same_id: Stored | None, same_key: Stored | None) -> Enqueued:
    if same_id is not None:
        if (same_id.namespace, same_id.workflow, same_id.key) == (row.namespace, row.workflow, row.key):
            return Enqueued(row.id)
        return _refused(row.id, Conflict(f"run id {row.id} is in use"))
    if same_key is None:
        # Whoever held the id or key was rolled back or deleted since: the caller repeats.
        return _refused(row.id, Unavailable(f"run {row.id} could not be stored: enqueue it again"))
    if same_key.digest == row.digest or run.on_conflict == "existing":
        return Enqueued(same_key.id, created=False)
    message = f"key {row.key!r} of workflow {row.workflow!r} was used with another input by run {same_key.id}"
    return Enqueued(same_key.id, created=False, error=Refusal(Conflict.code, message))


def _refused(run_id: str, error: AikiError) -> Enqueued:
    return Enqueued(run_id, created=False, error=Refusal(error.code, error.message))
