"""Cold reads: lists, inputs, counts. SQLAlchemy Core on the small pool; they wait for nobody's lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Raw
from sqlalchemy.dialects.postgresql import JSONB

from aiki.core.states import State
from aiki.wire.codec import encode
from aiki.wire.messages import NONE, ListRuns, Route, RunStatus, SummaryRow
from aikid.store.pool import Pool
from aikid.store.sql import MICROSECONDS
from aikid.store.status import COLUMNS, to_status
from aikid.store.tables import routes, runs, sessions

_r = runs.alias("r")
_status_columns: Final[sa.ColumnElement[Any]] = sa.literal_column(COLUMNS)


def _microseconds(column: str) -> sa.ColumnElement[int]:
    return sa.literal_column(MICROSECONDS.format(column), sa.BigInteger)


async def list_runs(pool: Pool, namespace: str, request: ListRuns, *, limit: int) -> list[RunStatus]:
    """Return runs newest first, without outputs. Walks the primary key backwards, or `runs_troubled`."""
    query = sa.select(_status_columns).select_from(_r).where(_r.c.namespace == namespace)
    if request.states:
        query = query.where(_r.c.state.in_([state.value for state in request.states]))
    if request.workflow is not None:
        query = query.where(_r.c.workflow == request.workflow)
    if request.labels:
        wanted = sa.literal(encode(request.labels).decode(), sa.Text)
        query = query.where(_r.c.labels.contains(sa.cast(wanted, JSONB)))
    if request.since is not None:
        query = query.where(_microseconds("r.created_at") >= request.since)
    if request.cursor is not None:
        query = query.where(_r.c.id < sa.cast(request.cursor, _r.c.id.type))
    return [to_status(row) for row in await pool.read(query.order_by(_r.c.id.desc()).limit(limit))]


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


async def find_ending(pool: Pool, namespace: str, digits: str, *, limit: int) -> list[str]:
    """Return ids that end with `digits` (no hyphens). Reads the table: a person asks so now and then."""
    plain = sa.func.replace(sa.cast(runs.c.id, sa.Text), "-", "")
    query = sa.select(sa.cast(runs.c.id, sa.Text)).where(runs.c.namespace == namespace, plain.like("%" + digits))
    return [row[0] for row in await pool.read(query.limit(limit))]


async def run_input(pool: Pool, namespace: str, run_id: str) -> bytes | None:
    """Return the run's input, None if there is no such run."""
    rows = await pool.read(sa.select(runs.c.input).where(runs.c.id == run_id, runs.c.namespace == namespace))
    return rows[0][0] if rows else None


async def summary(pool: Pool, namespace: str, *, offset: int, limit: int) -> tuple[list[SummaryRow], int]:
    """Return `limit` of the counts of runs by route and state, and the number of live sessions.

    Reads the whole table.
    """
    query = (
        sa.select(runs.c.workflow, runs.c.version, runs.c.state, sa.func.count())
        .where(runs.c.namespace == namespace)
        .group_by(runs.c.workflow, runs.c.version, runs.c.state)
        .order_by(runs.c.workflow, runs.c.version, runs.c.state)
        .offset(offset)
        .limit(limit)
    )
    rows = [SummaryRow(name, version, State(state), count) for name, version, state, count in await pool.read(query)]
    live = (
        sa.select(sa.func.count())
        .select_from(sessions)
        .where(sessions.c.namespace == namespace, sessions.c.closed_at.is_(None), sessions.c.expires_at > sa.func.now())
    )
    return rows, (await pool.read(live))[0][0]


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
