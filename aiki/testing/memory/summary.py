"""Own the summary of the engine: what it holds, and what the last minutes have brought, counted as it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from aiki.core.states import State
from aiki.rules.histograms import bucket, quantile
from aiki.rules.summing import in_a_line, taken, words
from aiki.testing.memory.reads import page
from aiki.testing.memory.run import RouteKey, Run
from aiki.testing.memory.store import Session, Store
from aiki.wire.limits import COUNTED_RUNS, RATE_MINUTES, SESSION_ROUTES, SUMMED_SESSIONS
from aiki.wire.messages import (
    QueueRow,
    RateRow,
    SessionRow,
    Summary,
    SummaryReply,
    SummaryRow,
    TroubleRow,
    Workers,
    WorkersReply,
)

_ROUTES: Final = 100
_PAGE: Final = 200
_WINDOW: Final = RATE_MINUTES * 60_000_000


def summary(store: Store, request: Summary) -> SummaryReply:
    """Say what the engine does. Raises UsageError."""
    routes, cursor = page(sorted(store.routes), request.cursor, _ROUTES)
    runs = [run for run in store.runs.values() if run.route in set(routes)]
    counts = Counter((*run.route, run.state) for run in runs)
    alive = _alive(store)
    known = sorted(store.routes)
    workflows = {workflow for workflow, version in routes if known[_first(known, workflow)] == (workflow, version)}
    return SummaryReply(
        [SummaryRow(*of, min(count, COUNTED_RUNS), count > COUNTED_RUNS) for of, count in sorted(counts.items())],
        len(alive),
        cursor,
        [_queue(store, route, counts[*route, State.QUEUED]) for route in routes],
        list(_rates(store, workflows)),
        list(_troubles(store, routes)),
        [_session(one) for one in alive[:SUMMED_SESSIONS]] if request.cursor is None else [],
    )


def workers(store: Store, request: Workers) -> WorkersReply:
    """List the sessions that are alive. Raises UsageError."""
    found, cursor = page(_alive(store), request.cursor, _PAGE)
    return WorkersReply([_session(one) for one in found], cursor)


def _first(known: list[RouteKey], workflow: str) -> int:
    return next(n for n, (name, _) in enumerate(known) if name == workflow)


def _alive(store: Store) -> list[Session]:
    return sorted((one for one in store.sessions.values() if one.is_alive), key=lambda one: (one.worker, one.id))


def _session(one: Session) -> SessionRow:
    routes = sorted(one.routes)[:SESSION_ROUTES]
    seen_at = one.opened_at if one.seen_at is None else one.seen_at
    return SessionRow(
        one.worker, one.id, one.opened_at, seen_at, len(one.runs), one.slots, one.draining, routes, len(one.routes)
    )


def _queue(store: Store, route: RouteKey, count: int) -> QueueRow:
    waiting = (run for run in store.runs.values() if run.route == route and run.state is State.QUEUED)
    oldest = min(map(_since, waiting), default=None)
    serving = sum(one.is_alive and route in one.routes for one in store.sessions.values())
    return QueueRow(*route, min(count, COUNTED_RUNS), count > COUNTED_RUNS, oldest, serving)


def _since(run: Run) -> int:
    """Return since when a run waits for a worker: since whatever has queued it."""
    return run.lines[-1].at if run.lines else run.created_at


def _starts_at(run: Run) -> int | None:
    if run.options.start_at is not None:
        return run.options.start_at if run.options.start_at > run.created_at else None
    return None if run.options.delay is None else run.created_at + run.options.delay


def _lately(store: Store, at: int | None) -> bool:
    return at is not None and store.now() - _WINDOW < at <= store.now()


def _rates(store: Store, workflows: Iterable[str]) -> Iterator[RateRow]:
    for workflow in sorted(workflows):
        runs = [run for run in store.runs.values() if run.workflow == workflow]
        enqueued = sum(_lately(store, run.created_at) for run in runs)
        ended = [(run, at) for run in runs if (at := run.finished_at) is not None and _lately(store, at)]
        if not enqueued and not ended:
            continue
        states = Counter(run.state for run, _ in ended)
        times = Counter(bucket(taken(run.created_at, _starts_at(run), run.started_at, at)) for run, at in ended)
        yield RateRow(
            workflow,
            RATE_MINUTES,
            enqueued,
            states[State.COMPLETED],
            states[State.FAILED],
            states[State.CANCELLED],
            quantile(times, 0.5),
            quantile(times, 0.95),
        )


def _troubles(store: Store, routes: Iterable[RouteKey]) -> Iterator[TroubleRow]:
    for route in routes:
        runs = [run for run in store.runs.values() if run.route == route]
        failed = [(at, run) for run in runs if (at := _failed_at(store, run)) is not None]
        if failed:
            at, last = max(failed, key=lambda one: one[0])
            yield TroubleRow(*route, State.FAILED, len(failed), last.id, at, in_a_line(words(bytes(last.error))))
        if blocked := [run for run in runs if run.state is State.BLOCKED]:
            last = max(blocked, key=lambda run: run.created_at)
            at = last.lines[-1].at
            yield TroubleRow(
                *route, State.BLOCKED, min(len(blocked), COUNTED_RUNS), last.id, at, in_a_line(last.why or "")
            )


def _failed_at(store: Store, run: Run) -> int | None:
    return run.finished_at if run.state is State.FAILED and _lately(store, run.finished_at) else None
