"""Cold reads of what a namespace does: counts by route and state, queues, and live sessions.

None waits for a lock, and none reads more than it shows: runs that have ended are counted no further than is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from aiki.core.states import TERMINAL, State
from aiki.wire.limits import COUNTED_RUNS, SESSION_ROUTES
from aiki.wire.messages import QueueRow, SessionRow, SummaryRow
from aikid.store.listing import RESTING
from aikid.store.pool import Pool
from aikid.store.sql import MICROSECONDS, quoted
from aikid.store.standing_tables import sessions

RouteKey: TypeAlias = tuple[str, str]
"""Workflow and version."""
Counted: TypeAlias = tuple[str, str, State]
"""A route's state."""
_FIRST: Final = 20
"""Of so many runs of a queue, the first by their creation, it is looked at since when they wait."""
MORE: Final = COUNTED_RUNS + 1
"""What a count is that is told as capped."""
_ASKED: Final = """
asked AS MATERIALIZED (
  SELECT * FROM unnest(CAST(:workflows AS text[]), CAST(:versions AS text[])) AS t(workflow, version)
)
"""
_OF_ROUTE: Final = "x.namespace = :namespace AND x.workflow = t.workflow AND x.version = t.version"
_MOST: Final = f"LIMIT {MORE}"
_IS_LIVE: Final = "s.closed_at IS NULL AND s.expires_at > aiki.now()"


def _states(states: Collection[State]) -> str:
    words = ", ".join(f"('{state}')" for state in sorted(states))
    return f"(VALUES {words}) AS s(state)"


# `ended_state`, `runs_resting`, `runs_queued`, each no further than is told; and `runs_running` by session, which is as
# many as live workers have slots for.
_COUNTS: Final = f"""
WITH {_ASKED}, known AS MATERIALIZED (
  SELECT * FROM unnest(CAST(:known_workflows AS text[]), CAST(:known_versions AS text[]), CAST(:known_states AS text[]))
    AS k(workflow, version, state)
)
SELECT workflow, version, state, count FROM (
  SELECT t.workflow, t.version, s.state, one.count
  FROM asked t CROSS JOIN {_states(TERMINAL)}
  CROSS JOIN LATERAL (SELECT count(*) FROM (
    SELECT FROM aiki.ended x WHERE {_OF_ROUTE} AND x.state = s.state {_MOST}
  ) AS counted) AS one
  WHERE (t.workflow, t.version, s.state) NOT IN (SELECT * FROM known)
  UNION ALL
  SELECT t.workflow, t.version, s.state, one.count
  FROM asked t CROSS JOIN {_states(RESTING)}
  CROSS JOIN LATERAL (SELECT count(*) FROM (
    SELECT FROM aiki.runs x WHERE {_OF_ROUTE} AND x.state = s.state AND x.state IN ({quoted(RESTING)}) {_MOST}
  ) AS counted) AS one
  UNION ALL
  SELECT t.workflow, t.version, '{State.QUEUED}', one.count FROM asked t CROSS JOIN LATERAL (
    SELECT count(*) FROM (SELECT FROM aiki.runs x WHERE {_OF_ROUTE} AND x.state = '{State.QUEUED}' {_MOST}) AS counted
  ) AS one
  UNION ALL
  SELECT x.workflow, x.version, '{State.RUNNING}', count(*)
  FROM aiki.sessions s JOIN aiki.runs x ON x.session_id = s.id
  WHERE s.namespace = :namespace AND x.namespace = :namespace AND x.state = '{State.RUNNING}'
    AND (x.workflow, x.version) IN (SELECT * FROM asked)
  GROUP BY x.workflow, x.version
) AS counts WHERE count > 0 ORDER BY workflow, version, state
"""


async def counts(
    pool: Pool, namespace: str, of: Sequence[RouteKey], *, capped: Collection[Counted] = ()
) -> list[SummaryRow]:
    """Return how many runs of these routes are in which state, but for those that are known to be `capped`."""
    known = list(capped)
    given = _of(namespace, of) | {
        "known_workflows": [workflow for workflow, _, _ in known],
        "known_versions": [version for _, version, _ in known],
        "known_states": [state.value for _, _, state in known],
    }
    rows = await pool.read(sa.text(_COUNTS).bindparams(**given))
    return [told(workflow, version, State(state), count) for workflow, version, state, count in rows]


def told(workflow: str, version: str, state: State, count: int) -> SummaryRow:
    """Return a count as it is told: no more than COUNTED_RUNS."""
    if count > COUNTED_RUNS:
        return SummaryRow(workflow, version, state, COUNTED_RUNS, capped=True)
    return SummaryRow(workflow, version, state, count)


def _of(namespace: str, of: Sequence[RouteKey]) -> dict[str, Any]:
    workflows, versions = ([route[place] for route in of] for place in range(2))
    return {"namespace": namespace, "workflows": workflows, "versions": versions}


_IN_QUEUE: Final = f"""
aiki.runs x WHERE {_OF_ROUTE} AND x.state = '{State.QUEUED}'
"""
# `runs_queued` has the runs of a route in order of creation for each priority, those that have started and the others;
# which priorities there are takes a probe for each, and of each the first are looked at. A run that has not begun waits
# since its creation or date, any other since its last claim, what woke it, or its date, whichever was last.
# `session_routes_served`, and its sessions by their keys.
_QUEUES: Final = f"""
WITH RECURSIVE {_ASKED}, queues AS (
  SELECT t.*, (SELECT x.priority FROM {_IN_QUEUE} ORDER BY x.priority DESC LIMIT 1) AS priority FROM asked t
  UNION ALL
  SELECT t.workflow, t.version,
    (SELECT x.priority FROM {_IN_QUEUE} AND x.priority < t.priority ORDER BY x.priority DESC LIMIT 1)
  FROM queues t WHERE t.priority IS NOT NULL
), oldest AS MATERIALIZED (
  SELECT t.workflow, t.version, min(one.since) AS at
  FROM queues t CROSS JOIN (VALUES (true), (false)) AS f(fresh) CROSS JOIN LATERAL (
    SELECT greatest(x.created_at, x.last_claimed_at, CASE WHEN x.due_at <= aiki.now() THEN x.due_at END,
      CASE WHEN x.started_at IS NOT NULL THEN x.news_at END) AS since
    FROM {_IN_QUEUE} AND x.priority = t.priority AND (x.started_at IS NULL) = f.fresh
    ORDER BY x.created_at LIMIT {_FIRST}
  ) AS one
  WHERE t.priority IS NOT NULL GROUP BY t.workflow, t.version
)
SELECT t.workflow, t.version, {MICROSECONDS.format("o.at")}, live.count
FROM asked t LEFT JOIN oldest o ON o.workflow = t.workflow AND o.version = t.version
CROSS JOIN LATERAL (
  SELECT count(*) FROM (
    SELECT FROM aiki.session_routes x JOIN aiki.sessions s ON s.id = x.session_id
    WHERE {_OF_ROUTE} AND {_IS_LIVE} {_MOST}) AS served
) AS live
ORDER BY t.workflow, t.version
"""


async def queues(pool: Pool, namespace: str, of: Sequence[RouteKey], counted: Sequence[SummaryRow]) -> list[QueueRow]:
    """Return of each of these routes what waits, as it was `counted`, since when, and how many live workers serve it.

    Since when the one waits that waits longest is said as far as the first of each queue tell.
    """
    waiting = {(row.workflow, row.version): row for row in counted if row.state is State.QUEUED}
    rows = await pool.read(sa.text(_QUEUES).bindparams(**_of(namespace, of)))
    return [
        QueueRow(workflow, version, one.runs, one.capped, oldest, workers)
        if (one := waiting.get((workflow, version))) is not None
        else QueueRow(workflow, version, workers=workers)
        for workflow, version, oldest, workers in rows
    ]


async def live_workers(pool: Pool, namespace: str) -> int:
    """Return the number of live sessions. It walks the sessions: as many as there were workers in the last hour."""
    query = (
        sa.select(sa.func.count())
        .select_from(sessions)
        .where(
            sessions.c.namespace == namespace,
            sessions.c.closed_at.is_(None),
            sessions.c.expires_at > sa.func.aiki.now(),
        )
    )
    return int((await pool.read(query))[0][0])


# The sessions, of which there are as many as workers of the last hour; of each that is shown its runs by `runs_running`
# and its routes by their primary key.
_SESSIONS: Final = f"""
SELECT s.worker, s.id::text, {MICROSECONDS.format("s.opened_at")}, {MICROSECONDS.format("s.expires_at - s.ttl")},
  (SELECT count(*) FROM (
    SELECT FROM aiki.runs x WHERE x.session_id = s.id AND x.namespace = s.namespace AND x.state = '{State.RUNNING}'
    {_MOST}) AS held),
  s.slots, s.draining, served.workflows, served.versions, served.count
FROM (
  SELECT s.* FROM aiki.sessions s WHERE s.namespace = :namespace AND {_IS_LIVE} AND {{after}}
  ORDER BY {{order}} LIMIT :limit
) AS s CROSS JOIN LATERAL (
  SELECT (array_agg(o.workflow ORDER BY o.workflow, o.version))[1:{SESSION_ROUTES}] AS workflows,
    (array_agg(o.version ORDER BY o.workflow, o.version))[1:{SESSION_ROUTES}] AS versions, count(*)
  FROM aiki.session_routes o WHERE o.session_id = s.id
) AS served ORDER BY {{order}}
"""
_BY_NAME: Final = _SESSIONS.format(after="true", order="s.worker, s.id")
_BY_ID: Final = _SESSIONS.format(after="s.id > CAST(:after AS uuid)", order="s.id")


async def first_sessions(pool: Pool, namespace: str, *, limit: int) -> list[SessionRow]:
    """Return the first live sessions by the names of their workers."""
    return _to_sessions(await pool.read(sa.text(_BY_NAME).bindparams(namespace=namespace, limit=limit)))


async def sessions_after(pool: Pool, namespace: str, after: str, *, limit: int) -> list[SessionRow]:
    """Return live sessions in the order of their ids, from behind one of these on."""
    given: Mapping[str, Any] = {"namespace": namespace, "after": after, "limit": limit}
    return _to_sessions(await pool.read(sa.text(_BY_ID).bindparams(**given)))


def _to_sessions(rows: Sequence[Sequence[Any]]) -> list[SessionRow]:
    found = []
    for *plain, workflows, versions, total in rows:
        worker, session, since, seen_at, running, slots, draining = plain
        routes = list(zip(workflows or (), versions or (), strict=True))
        found.append(SessionRow(worker, session, since, seen_at, running, slots, draining, routes, total))
    return found
