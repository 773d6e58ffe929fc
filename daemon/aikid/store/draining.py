"""What is known of routes beside their schemas: runs in flight, live workers, their code, and when a run was started.

Cold reads on the small pool; they wait for nobody's lock, and count no further than is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from aiki.core.states import TERMINAL, State
from aiki.wire.limits import COUNTED_RUNS, NAMED_WORKERS
from aiki.wire.messages import RouteStanding
from aikid.store.listing import RESTING
from aikid.store.pool import Pool
from aikid.store.sql import MICROSECONDS, quoted

RouteKey = tuple[str, str]
_ASKED: Final = """
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(CAST(:workflows AS text[]), CAST(:versions AS text[])) AS t(workflow, version)
), running AS MATERIALIZED (
  SELECT x.workflow, x.version, count(*), max(x.started_at) AS started_at
  FROM aiki.sessions s JOIN aiki.runs x ON x.session_id = s.id
  WHERE s.namespace = :namespace AND x.namespace = :namespace AND x.state = 'running'
    AND (x.workflow, x.version) IN (SELECT * FROM asked)
  GROUP BY x.workflow, x.version
)
"""
_OF_ROUTE: Final = "x.namespace = :namespace AND x.workflow = t.workflow AND x.version = t.version"
_SERVING: Final = "s.namespace = :namespace AND s.workflow = t.workflow AND s.version = t.version"
_MOST: Final = f"LIMIT {COUNTED_RUNS} + 1"
# `runs_queued`, `runs_resting` a state at a time, and `runs_running` by each session, once for all routes.
_COUNTS: Final = f"""
{_ASKED}
SELECT workflow, version, state, count FROM (
  SELECT t.workflow, t.version, '{State.QUEUED}' AS state, (SELECT count(*) FROM (
    SELECT FROM aiki.runs x WHERE {_OF_ROUTE} AND x.state = '{State.QUEUED}' {_MOST}) AS counted)
  FROM asked t
  UNION ALL
  SELECT t.workflow, t.version, s.state, (SELECT count(*) FROM (
    SELECT FROM aiki.runs x
    WHERE {_OF_ROUTE} AND x.state = s.state AND x.state IN ({quoted(RESTING)}) {_MOST}) AS counted)
  FROM asked t CROSS JOIN (VALUES {", ".join(f"('{state}')" for state in sorted(RESTING))}) AS s(state)
  UNION ALL
  SELECT workflow, version, '{State.RUNNING}', count FROM running
) AS counts WHERE count > 0 ORDER BY workflow, version, state
"""
# The routes' primary key; `session_routes_served` and its sessions; `schedules_route`. Of the last start, the newest
# run of each state by `ended_state` and `runs_resting`, each by its key, and those that run.
_KNOWN: Final = f"""
{_ASKED}
SELECT t.workflow, t.version, {MICROSECONDS.format("r.fingerprint_at")}, r.fingerprint_by,
  EXISTS (SELECT FROM aiki.schedules x WHERE {_OF_ROUTE}) AS has_schedule, live.count, live.names,
  r.registered_at IS NOT NULL, {MICROSECONDS.format("began.at")}
FROM asked t
JOIN aiki.routes r ON r.namespace = :namespace AND r.workflow = t.workflow AND r.version = t.version
CROSS JOIN LATERAL (
  SELECT count(*), (array_agg(worker ORDER BY worker))[1:{NAMED_WORKERS}] AS names FROM (
    SELECT l.worker FROM aiki.session_routes s JOIN aiki.sessions l ON l.id = s.session_id
    WHERE {_SERVING} AND l.closed_at IS NULL AND l.expires_at > aiki.now() {_MOST}) AS served
) AS live
CROSS JOIN LATERAL (
  SELECT max(started_at) AS at FROM (
    SELECT (SELECT r.started_at FROM aiki.runs r WHERE r.id = newest.run_id) AS started_at
    FROM (VALUES {", ".join(f"('{state}')" for state in sorted(TERMINAL))}) AS e(state) CROSS JOIN LATERAL (
      SELECT x.run_id FROM aiki.ended x WHERE {_OF_ROUTE} AND x.state = e.state ORDER BY x.created_at DESC LIMIT 1
    ) AS newest
    UNION ALL
    SELECT newest.started_at
    FROM (VALUES {", ".join(f"('{state}')" for state in sorted(RESTING))}) AS e(state) CROSS JOIN LATERAL (
      SELECT x.started_at FROM aiki.runs x
      WHERE {_OF_ROUTE} AND x.state = e.state AND x.state IN ({quoted(RESTING)}) ORDER BY x.created_at DESC LIMIT 1
    ) AS newest
    UNION ALL
    SELECT g.started_at FROM running g WHERE g.workflow = t.workflow AND g.version = t.version
  ) AS starts
) AS began
"""


async def standings(pool: Pool, namespace: str, of: Sequence[RouteKey]) -> Mapping[RouteKey, RouteStanding]:
    """Return how these routes stand. Of each state no more than COUNTED_RUNS are told."""
    workflows, versions = ([route[place] for route in of] for place in range(2))
    given: dict[str, Any] = {"namespace": namespace, "workflows": workflows, "versions": versions}
    known = {
        (workflow, version): RouteStanding({}, [], workers, list(names or ()), has_schedule, since, by or "", *rest)
        for workflow, version, since, by, has_schedule, workers, names, *rest in await pool.read(
            sa.text(_KNOWN).bindparams(**given)
        )
    }
    for workflow, version, state, count in await pool.read(sa.text(_COUNTS).bindparams(**given)):
        if (standing := known.get((workflow, version))) is not None:
            standing.runs[State(state)] = min(count, COUNTED_RUNS)
            if count > COUNTED_RUNS:
                standing.capped.append(State(state))
    return known
