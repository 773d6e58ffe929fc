"""Cold reads: lists, inputs, counts. SQLAlchemy Core on the small pool; they wait for nobody's lock.

Those that no index answers read a window of the table at a time, SCANNED runs of all namespaces, and say where the next
one begins: no request holds its connection for longer because the table has grown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from msgspec import Raw
from sqlalchemy.dialects.postgresql import JSONB

from aiki.core.states import State
from aiki.wire.codec import encode
from aiki.wire.limits import LISTED_BYTES
from aiki.wire.messages import NONE, ListRuns, Route, RunStatus, SummaryRow
from aikid.store.pool import Pool
from aikid.store.sql import MICROSECONDS
from aikid.store.status import COLUMNS, to_status
from aikid.store.tables import routes, runs, sessions

SCANNED: Final = 200_000
"""Runs that one request looks at: what an ordinary disk and core read well within a second."""
LAST_TIME: Final = 10**16 - 1
"""In microseconds since EPOCH: long after all that is stored, and what `datetime` can hold."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TROUBLED: Final = frozenset({State.BLOCKED, State.FAILED, State.RETRYING})
"""States that the index `runs_troubled` holds, and no other."""
_status_columns: Final[sa.ColumnElement[Any]] = sa.literal_column(COLUMNS)


def _microseconds(column: str) -> sa.ColumnElement[int]:
    return sa.literal_column(MICROSECONDS.format(column), sa.BigInteger)


class Mark(NamedTuple):
    """Where a run stands among those that are listed: when it was stored, in microseconds, and its id."""

    created: int
    id: str


async def list_runs(
    pool: Pool, namespace: str, request: ListRuns, *, before: Mark | None = None, limit: int, limit_bytes: int
) -> tuple[list[RunStatus], Mark | None]:
    """Return runs newest first, and the last run that was looked at if the window ended first.

    Outputs of more than LISTED_BYTES are left out, and all payloads beyond the first `limit_bytes` together: their
    runs are for the next page. Walks `runs_created` or `runs_troubled` backwards.
    """
    within: list[sa.ColumnElement[bool]] = []
    if request.states and _TROUBLED.issuperset(request.states):
        within = [runs.c.namespace == namespace, runs.c.state.in_(sorted(_TROUBLED))]
    if request.since is not None:
        within.append(runs.c.created_at >= _time(min(max(request.since, 0), LAST_TIME)))
    window = _window(before, *within).alias("r")
    asked = [window.c.namespace == namespace]
    if request.states:
        asked.append(window.c.state.in_([state.value for state in request.states]))
    if request.workflow is not None:
        asked.append(window.c.workflow == request.workflow)
    if request.labels:
        wanted = sa.literal(encode(request.labels).decode(), sa.Text)
        asked.append(sa.func.coalesce(window.c.labels.contains(sa.cast(wanted, JSONB)), sa.false()))
    payloads = _listed_payloads(window.c, limit_bytes)
    rows, end = await _matching(pool, window, [_status_columns, *payloads], sa.and_(*asked), limit=limit)
    return [to_status(row) for row in rows], end


def _listed_payloads(r: sa.ColumnCollection[str, Any], limit_bytes: int) -> list[sa.ColumnElement[Any]]:
    """Return the columns of output, error and the size of an output that is left out.

    How long a stored value is, is known without reading it.
    """
    size = sa.func.octet_length(r.output)
    is_long = size > LISTED_BYTES
    weight = sa.case((is_long, 0), else_=sa.func.coalesce(size, 0)) + sa.func.coalesce(sa.func.octet_length(r.error), 0)
    fits = sa.func.sum(weight).over(order_by=(r.created_at.desc(), r.id.desc())) <= limit_bytes
    return [
        sa.case((sa.and_(fits, size <= LISTED_BYTES), r.output)),
        sa.case((fits, r.error)),
        sa.case((is_long, size)),
    ]


def _window(before: Mark | None, *within: sa.ColumnElement[bool]) -> sa.Subquery:
    """Return the SCANNED newest runs that are older than `before`, each with its place from 1 on.

    Which run is newer, the database's clock says. Ids are the callers': one whose clock is a day behind would hide its
    runs.
    """
    order = (runs.c.created_at.desc(), runs.c.id.desc())
    query = sa.select(runs, sa.func.row_number().over(order_by=order).label("place")).where(*within)
    if before is not None:
        mark = sa.tuple_(_time(before.created), sa.cast(before.id, runs.c.id.type))
        query = query.where(sa.tuple_(runs.c.created_at, runs.c.id) < mark)
    return query.order_by(*order).limit(SCANNED).subquery()


async def _matching(
    pool: Pool,
    window: sa.FromClause,
    columns: Sequence[sa.ColumnElement[Any]],
    asked: sa.ColumnElement[bool],
    *,
    limit: int,
) -> tuple[list[Sequence[Any]], Mark | None]:
    """Return the columns of `limit` runs of the window that are as asked, and its last run if it was read to its end.

    That run comes with the others in one statement, whatever it is: the window would begin elsewhere in the next one.
    """
    mark = (_microseconds("r.created_at"), sa.cast(window.c.id, sa.Text))
    query = (
        sa.select(asked, window.c.place == SCANNED, *mark, *columns)
        .where(sa.or_(asked, window.c.place == SCANNED))
        .order_by(window.c.created_at.desc(), window.c.id.desc())
        .limit(limit)
    )
    rows = await pool.read(query)
    end = Mark(*rows[-1][2:4]) if rows and rows[-1][1] else None
    return [row[4:] for row in rows if row[0]], end


def _time(microseconds: int) -> sa.ColumnElement[datetime]:
    return sa.literal(EPOCH + timedelta(microseconds=microseconds), runs.c.created_at.type)


async def find_by_key(pool: Pool, namespace: str, workflow: str, key: str) -> list[str]:
    """Return the run that holds the idempotency key. Unique index `runs_key`."""
    query = sa.select(sa.cast(runs.c.id, sa.Text)).where(
        runs.c.namespace == namespace, runs.c.workflow == workflow, runs.c.key == key, runs.c.key.is_not(None)
    )
    return [row[0] for row in await pool.read(query)]


async def find_between(pool: Pool, namespace: str, first: str, last: str, *, limit: int) -> list[str]:
    """Return ids from `first` to `last`. Primary key."""
    kind = runs.c.id.type
    query = sa.select(sa.cast(runs.c.id, sa.Text)).where(
        runs.c.namespace == namespace, runs.c.id.between(sa.cast(first, kind), sa.cast(last, kind))
    )
    return [row[0] for row in await pool.read(query.order_by(runs.c.id).limit(limit))]


async def find_ending(
    pool: Pool, namespace: str, digits: str, *, before: Mark | None, limit: int
) -> tuple[list[str], Mark | None]:
    """Return ids that end with `digits` (no hyphens), and the last run that was looked at if the window ended first."""
    window = _window(before).alias("r")
    id = sa.cast(window.c.id, sa.Text)
    asked = sa.and_(window.c.namespace == namespace, sa.func.replace(id, "-", "").like("%" + digits))
    rows, end = await _matching(pool, window, [id], asked, limit=limit)
    return [row[0] for row in rows], end


async def run_input(pool: Pool, namespace: str, run_id: str) -> bytes | None:
    """Return the run's input, None if there is no such run."""
    rows = await pool.read(sa.select(runs.c.input).where(runs.c.id == run_id, runs.c.namespace == namespace))
    return rows[0][0] if rows else None


async def window_after(pool: Pool, after: str | None) -> str | None:
    """Return the last of the SCANNED oldest runs that are younger than `after`, None if there are less."""
    query = sa.select(sa.cast(runs.c.id, sa.Text)).order_by(runs.c.id).offset(SCANNED - 1).limit(1)
    if after is not None:
        query = query.where(runs.c.id > sa.cast(after, runs.c.id.type))
    rows = await pool.read(query)
    return rows[0][0] if rows else None


async def summary(
    pool: Pool, namespace: str, *, after: str | None, until: str | None, offset: int, limit: int
) -> list[SummaryRow]:
    """Return `limit` of the counts by route and state of the runs that are younger than `after`, up to `until`."""
    query = sa.select(runs.c.workflow, runs.c.version, runs.c.state, sa.func.count()).where(
        runs.c.namespace == namespace
    )
    if after is not None:
        query = query.where(runs.c.id > sa.cast(after, runs.c.id.type))
    if until is not None:
        query = query.where(runs.c.id <= sa.cast(until, runs.c.id.type))
    order = (runs.c.workflow, runs.c.version, runs.c.state)
    rows = await pool.read(query.group_by(*order).order_by(*order).offset(offset).limit(limit))
    return [SummaryRow(name, version, State(state), count) for name, version, state, count in rows]


async def live_workers(pool: Pool, namespace: str) -> int:
    """Return the number of live sessions."""
    query = (
        sa.select(sa.func.count())
        .select_from(sessions)
        .where(sessions.c.namespace == namespace, sessions.c.closed_at.is_(None), sessions.c.expires_at > sa.func.now())
    )
    return int((await pool.read(query))[0][0])


async def registered(
    pool: Pool, namespace: str, workflow: str | None, *, offset: int, limit: int, limit_bytes: int
) -> tuple[list[Route], bool]:
    """Return routes that workers have registered, by name and the newest first, and whether there are more.

    As many as `limit`, and as have `limit_bytes` of schemas together; one that has more alone comes without.
    """
    order = (routes.c.workflow, routes.c.created_at.desc(), routes.c.version)
    place = sa.func.row_number().over(order_by=order).label("place")
    query = sa.select(routes, place).where(routes.c.namespace == namespace, routes.c.registered_at.is_not(None))
    if workflow is not None:
        query = query.where(routes.c.workflow == workflow)
    page = query.order_by(*order).offset(offset).limit(limit + 1).subquery().c
    # How long a stored value is, is known without reading it.
    fits = sa.func.octet_length(page.parameters) <= limit_bytes
    weight = sa.func.sum(sa.case((fits, sa.func.octet_length(page.parameters)), else_=0)).over(order_by=page.place)
    schema = sa.case((fits, page.parameters)).label("schema")
    weighed = sa.select(page.place, page.workflow, page.version, page.task_names, schema, weight.label("weight"))
    found = weighed.subquery().c
    shown = sa.and_(found.weight <= limit_bytes, found.place <= offset + limit)
    columns = (found.workflow, found.version, sa.case((shown, found.schema)), found.task_names, shown)
    rows = await pool.read(sa.select(*columns).order_by(found.place))
    listed = [to_route(row[:-1]) for row in rows if row[-1]]
    return listed, len(listed) < len(rows)


def to_route(row: Sequence[Any]) -> Route:
    """Return a row of `registered` as it travels; `live` is not known here."""
    workflow, version, parameters, task_names = row
    return Route(workflow, version, Raw(parameters) if parameters else NONE, task_names or [])
