"""Cold reads: inputs, references, routes. SQLAlchemy Core on the small pool; they wait for nobody's lock."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Raw

from aiki.wire.messages import NONE, Route
from aikid.store.pool import Pool
from aikid.store.standing_tables import keys, routes
from aikid.store.tables import runs


async def find_by_key(pool: Pool, namespace: str, workflow: str, key: str) -> list[str]:
    """Return the run that holds the idempotency key. Primary key."""
    query = sa.select(sa.cast(keys.c.run_id, sa.Text)).where(
        keys.c.namespace == namespace, keys.c.workflow == workflow, keys.c.key == key
    )
    return [row[0] for row in await pool.read(query)]


async def find_between(pool: Pool, namespace: str, first: str, last: str, *, limit: int) -> list[str]:
    """Return ids from `first` to `last`. Primary key."""
    kind = runs.c.id.type
    query = sa.select(sa.cast(runs.c.id, sa.Text)).where(
        runs.c.namespace == namespace, runs.c.id.between(sa.cast(first, kind), sa.cast(last, kind))
    )
    return [row[0] for row in await pool.read(query.order_by(runs.c.id).limit(limit))]


async def run_input(pool: Pool, namespace: str, run_id: str) -> bytes | None:
    """Return the run's input, None if there is no such run."""
    rows = await pool.read(sa.select(runs.c.input).where(runs.c.id == run_id, runs.c.namespace == namespace))
    return rows[0][0] if rows else None


async def known_routes(pool: Pool, namespace: str, *, offset: int, limit: int) -> list[tuple[str, str]]:
    """Return workflows and versions that were ever enqueued or registered, in order. Primary key."""
    order = (routes.c.workflow, routes.c.version)
    query = sa.select(*order).where(routes.c.namespace == namespace).order_by(*order).offset(offset).limit(limit)
    return [(workflow, version) for workflow, version in await pool.read(query)]


async def registered(
    pool: Pool,
    namespace: str,
    workflow: str | None,
    *,
    offset: int,
    limit: int,
    limit_bytes: int,
    with_unregistered: bool = False,
) -> tuple[list[Route], bool]:
    """Return routes that workers have registered, by name and the newest first, and whether there are more.

    As many as `limit`, and as have `limit_bytes` of schemas together; one that has more alone comes without.
    """
    order = (routes.c.workflow, routes.c.created_at.desc(), routes.c.version)
    place = sa.func.row_number().over(order_by=order).label("place")
    query = sa.select(routes, place).where(routes.c.namespace == namespace)
    if not with_unregistered:
        query = query.where(routes.c.registered_at.is_not(None))
    if workflow is not None:
        query = query.where(routes.c.workflow == workflow)
    page = query.order_by(*order).offset(offset).limit(limit + 1).subquery().c
    # How long a stored value is, is known without reading it.
    lengths = (sa.func.coalesce(sa.func.octet_length(each), 0) for each in (page.parameters, page.events))
    length = operator.add(*lengths)
    fits = length <= limit_bytes
    weight = sa.func.sum(sa.case((fits, length), else_=0)).over(order_by=page.place).label("weight")
    schemas = [sa.case((fits, each)).label(each.key) for each in (page.parameters, page.events)]
    plain = (page.workflow, page.version, page.task_names, page.timeout_us, page.cancel_timeout_us)
    found = sa.select(page.place, *plain, *schemas, weight).subquery().c
    shown = sa.and_(found.weight <= limit_bytes, found.place <= offset + limit)
    told = [sa.case((shown, each)) for each in (found.parameters, found.events)]
    columns = (*(found[each.key] for each in plain), *told, shown)
    rows = await pool.read(sa.select(*columns).order_by(found.place))
    listed = [to_route(row[:-1]) for row in rows if row[-1]]
    return listed, len(listed) < len(rows)


def to_route(row: Sequence[Any]) -> Route:
    """Return a row of `registered` as it travels; `live` is not known here."""
    workflow, version, task_names, timeout, cancel_timeout, *schemas = row
    parameters, events = (Raw(schema) if schema else NONE for schema in schemas)
    return Route(
        workflow, version, parameters, task_names or [], timeout=timeout, cancel_timeout=cancel_timeout, events=events
    )
