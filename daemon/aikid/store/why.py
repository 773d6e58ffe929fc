"""Read what is on record of why runs do not move: each by an index, and no more rows than are counted or told.

How many runs have ended changes nothing here: of these a fixed number is looked at, for how fast a route goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiki.core.states import TERMINAL, Move, State
from aiki.rules.why import CHILDREN, COUNTED, Hold, Kin, Queue, Service, Timetable, Told, Wanted
from aiki.wire.codec import decoder
from aiki.wire.messages import CancelNote
from aiki.wire.messages.own_retry import OwnRetry
from aikid.store.arrays import Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted

_LINES: Final = 50
"""Of a story, the last that are looked at for one that has moved the run."""
_ENDED: Final = 100
"""Runs of a route that have ended, of each state, by which it is estimated how fast it goes on."""
_LATELY: Final = "interval '5 minutes'"
_EVENTS: Final = 100
_SESSIONS: Final = 1_000
_SLOTS: Final = 101


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands on a run's row, and on those that its row points to."""

    state: State
    epoch: int
    last: Told
    claimed: Told | None
    crash_count: int
    wanted: bool
    cancel: CancelNote | None
    cancel_at: int | None
    attempts: int | None
    hold: Hold | None


_MOVED: Final = f"""
LATERAL (
  SELECT {MICROSECONDS.format("h.at")} AS at, h.move, h.reason, h.actor FROM (
    SELECT x.seq, x.at, x.move, x.reason, x.actor FROM aiki.run_history x WHERE x.run_id = r.id
    ORDER BY x.seq DESC LIMIT {_LINES}
  ) AS h WHERE h.move {{which}} ORDER BY h.seq DESC LIMIT 1
)
"""
# Primary keys: of runs, of their histories from the right, of inbox and sessions.
_STANDING: Final = f"""
SELECT r.id::text, r.state, r.epoch, {MICROSECONDS.format("coalesce(r.last_claimed_at, r.created_at)")}, m.*, c.*,
  r.crash_count, r.wanted IS NOT NULL, i.value, i.at_us, r.retry, s.worker, s.id::text,
  {MICROSECONDS.format("s.expires_at")}, (extract(epoch FROM s.ttl) * 1000000)::bigint
FROM aiki.runs r
LEFT JOIN {_MOVED.format(which="<> 'told'")} AS m ON true
LEFT JOIN {_MOVED.format(which=f"= '{Move.CLAIM}'")} AS c ON true
LEFT JOIN aiki.inbox i ON i.run_id = r.id AND i.number = r.cancel_seq
LEFT JOIN aiki.sessions s ON s.id = r.session_id AND s.closed_at IS NULL
WHERE r.id = ANY(%b)
"""


async def standing(connection: Connection, run_ids: Sequence[str]) -> dict[str, Standing]:
    """Return what is on record of runs."""
    cursor = await connection.execute(_STANDING, [Uuids(run_ids)], prepare=True, binary=True)
    return {row[0]: _standing(row) for row in await cursor.fetchall()}


def _standing(row: Sequence[Any]) -> Standing:
    _, state, epoch, since, *rest = row
    crashes, wanted, cancel, cancel_at, retry, worker, session, expires_at, ttl = rest[8:]
    rule = None if retry is None else decoder(OwnRetry).decode(retry).rule
    return Standing(
        state=State(state),
        epoch=epoch,
        last=Told(since, "enqueued") if rest[1] is None else Told(*rest[:4]),
        claimed=None if rest[5] is None else Told(*rest[4:8]),
        crash_count=crashes,
        wanted=wanted,
        cancel=None if cancel is None else decoder(CancelNote).decode(cancel),
        cancel_at=cancel_at,
        attempts=rule and rule.max_attempts,
        hold=None if worker is None else Hold(worker, session, expires_at, ttl),
    )


_SAME: Final = """
q.namespace = r.namespace AND q.workflow = r.workflow AND q.version = r.version AND q.state = 'queued'
""".strip()
# `runs_queued` from the left, one range of it for each of the ways to stand before a run, in the order of claims. Then
# `ended_state` backwards, and primary keys: those that were enqueued last of the runs that have ended.
_QUEUE: Final = f"""
SELECT higher.count, begun.count + earlier.count, pace.per_second::float8 FROM aiki.runs r
CROSS JOIN LATERAL (SELECT count(*) FROM (
  SELECT FROM aiki.runs q WHERE {_SAME} AND q.priority > r.priority LIMIT {COUNTED} + 1) AS x) AS higher
CROSS JOIN LATERAL (SELECT count(*) FROM (
  SELECT FROM aiki.runs q WHERE {_SAME} AND q.priority = r.priority AND (q.started_at IS NULL) < (r.started_at IS NULL)
    LIMIT {COUNTED} + 1) AS x) AS begun
CROSS JOIN LATERAL (SELECT count(*) FROM (
  SELECT FROM aiki.runs q WHERE {_SAME} AND q.priority = r.priority
    AND (q.started_at IS NULL) = (r.started_at IS NULL) AND q.created_at < r.created_at LIMIT {COUNTED} + 1) AS x
) AS earlier
CROSS JOIN LATERAL (
  SELECT count(*) / nullif(extract(epoch FROM aiki.now() - min(e.finished_at)), 0) AS per_second FROM (
    SELECT o.finished_at FROM unnest(ARRAY[{quoted(TERMINAL)}]) AS s(state) CROSS JOIN LATERAL (
      SELECT x.run_id FROM aiki.ended x WHERE x.namespace = r.namespace AND x.workflow = r.workflow
        AND x.version = r.version AND x.state = s.state ORDER BY x.created_at DESC LIMIT {_ENDED}
    ) AS x JOIN aiki.runs o ON o.id = x.run_id
    WHERE o.finished_at > aiki.now() - {_LATELY} AND o.started_at IS NOT NULL
  ) AS e
) AS pace
WHERE r.id = %s
"""


async def queue(connection: Connection, run_id: str) -> Queue:
    """Return how many runs are claimed before a queued one, and how fast its route goes on."""
    cursor = await connection.execute(_QUEUE, [run_id], prepare=True, binary=True)
    row = await cursor.fetchone()
    return Queue() if row is None else Queue(*row)


# `session_routes_served` from the left, and of its sessions the primary key and `runs_running`: sessions are those of
# the workers of the last hour. Of a route its own primary key.
_SERVICE: Final = f"""
SELECT s.version, s.is_live, {MICROSECONDS.format("s.ended_at")}, CASE WHEN s.is_live AND s.version = %(version)s THEN (
    SELECT count(*) FROM (SELECT FROM aiki.runs q WHERE q.session_id = s.id AND q.state = '{State.RUNNING}'
      LIMIT {COUNTED}) AS x) END,
  EXISTS (SELECT FROM aiki.routes t WHERE t.namespace = %(namespace)s AND t.workflow = %(workflow)s
    AND t.version = %(version)s AND t.registered_at IS NOT NULL)
FROM (SELECT) AS always LEFT JOIN (
  SELECT x.id, t.version, x.closed_at IS NULL AND x.expires_at > aiki.now() AS is_live,
    least(x.closed_at, x.expires_at) AS ended_at
  FROM aiki.session_routes t JOIN aiki.sessions x ON x.id = t.session_id
  WHERE t.namespace = %(namespace)s AND t.workflow = %(workflow)s LIMIT {_SESSIONS}
) AS s ON true
"""


async def service(connection: Connection, namespace: str, workflow: str, version: str) -> Service:
    """Return who serves a route, and which versions of its workflow others do."""
    given = {"namespace": namespace, "workflow": workflow, "version": version}
    cursor = await connection.execute(_SERVICE, given, prepare=True, binary=True)
    rows = await cursor.fetchall()
    mine = [row for row in rows if row[0] == version]
    return Service(
        workers=sum(row[1] for row in mine),
        held=sum(row[3] or 0 for row in mine),
        versions=sorted({row[0] for row in rows if row[1]}),
        last_at=max((row[2] for row in mine if not row[1]), default=None),
        is_known=rows[0][4],
    )


_STARTS: Final = f"""
SELECT c.run_id, c.created_at FROM aiki.children c WHERE c.parent_id = r.id AND c.generation = r.generation
ORDER BY c.created_at {{order}} LIMIT {CHILDREN}
"""
# `children_created` from both ends, and primary keys; of a child that was retried its newest retry.
_KIN: Final = f"""
SELECT n.id::text, n.workflow, n.state, count(*) OVER (), r.children, counted.count FROM aiki.runs r
CROSS JOIN LATERAL (SELECT count(*) FROM (
  SELECT FROM aiki.children c WHERE c.parent_id = r.id LIMIT {2 * CHILDREN} + 1) AS x) AS counted
LEFT JOIN LATERAL (
  SELECT x.id, x.workflow, x.state, s.created_at FROM (
    SELECT o.run_id, min(o.created_at) AS created_at FROM (
      ({_STARTS.format(order="")}) UNION ({_STARTS.format(order="DESC")})
    ) AS o GROUP BY o.run_id
  ) AS s JOIN aiki.runs f ON f.id = s.run_id
  LEFT JOIN aiki.origins t ON f.retried_by IS NOT NULL AND t.origin_id = f.origin_id
  JOIN aiki.runs x ON x.id = coalesce(t.run_id, f.id)
  WHERE x.state NOT IN ({quoted(TERMINAL)})
) AS n ON true
WHERE r.id = %s ORDER BY n.created_at LIMIT 1
"""


async def kin(connection: Connection, run_id: str) -> Kin:
    """Return the children of a run that have not ended, as far as it is looked."""
    cursor = await connection.execute(_KIN, [run_id], prepare=True, binary=True)
    if (row := await cursor.fetchone()) is None:
        return Kin()
    child_id, workflow, state, count, total, seen = row
    is_all = seen <= 2 * CHILDREN
    if child_id is None:
        return Kin(0, total or 0, is_all)
    return Kin(count, total or 0, is_all, (child_id, workflow, State(state)))


# `task_key_waiters_run`, and the primary keys of `task_keys` and sessions.
_KEYS: Final = f"""
SELECT w.task, w.key, nullif(k.run_id, w.run_id)::text, {MICROSECONDS.format("w.at")}, s.worker
FROM aiki.task_key_waiters w
LEFT JOIN aiki.task_keys k ON k.namespace = w.namespace AND k.scope = w.scope AND k.task = w.task AND k.key = w.key
  AND k.done_at IS NULL
LEFT JOIN aiki.sessions s ON s.id = k.session_id AND s.closed_at IS NULL
WHERE w.run_id = %s ORDER BY w.at LIMIT 20
"""


async def keys(connection: Connection, run_id: str) -> list[Wanted]:
    """Return the keys of tasks that a run waits for, and which runs have them."""
    cursor = await connection.execute(_KEYS, [run_id], prepare=True, binary=True)
    return [Wanted(*row) for row in await cursor.fetchall()]


# The unique index of names, and `slots_open`.
_TIMETABLE: Final = f"""
SELECT s.paused, coalesce(s.note, ''), (SELECT count(*) FROM (
  SELECT FROM aiki.slots x WHERE x.schedule_id = s.id AND x.result = 'queued' LIMIT {_SLOTS}) AS x)
FROM aiki.schedules s WHERE s.namespace = %s AND s.name = %s
"""


async def timetable(connection: Connection, namespace: str, name: str) -> Timetable | None:
    """Return how a schedule stands, None if there is none of that name."""
    cursor = await connection.execute(_TIMETABLE, [namespace, name], prepare=True, binary=True)
    row = await cursor.fetchone()
    return None if row is None else Timetable(name, *row)


# `inbox_unread` from the left.
_UNREAD: Final = f"""
SELECT DISTINCT u.name FROM (
  SELECT i.name, i.kind FROM aiki.inbox i WHERE i.run_id = %s AND i.taken_seq IS NULL ORDER BY i.number LIMIT {_EVENTS}
) AS u WHERE u.kind = 'event' ORDER BY u.name
"""


async def unread(connection: Connection, run_id: str) -> list[str]:
    """Return the names of the first unread events of a run."""
    cursor = await connection.execute(_UNREAD, [run_id], prepare=True, binary=True)
    return [name for (name,) in await cursor.fetchall()]
