"""Insert runs, and tell a repeated enqueue from a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from aiki.core.states import TERMINAL, Move, State
from aiki.rules.crashing import SUSPECT
from aiki.rules.enqueueing import Stored
from aiki.wire.codec import encode
from aiki.wire.messages import NewRun, RunOptions
from aikid.store import births, deadlines, prepared
from aikid.store.arrays import Array, Blobs, Ints, Texts, Uuids
from aikid.store.births import Birth
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted

Row: TypeAlias = tuple[str, NewRun]
"""A run to be inserted, as it was asked for, behind the namespace that it is for."""


@dataclass(slots=True)
class Leave:
    """A row, by its place in the batch, that a session has leave for until a time of the database's clock."""

    place: int
    session: str
    claim_id: str
    until_us: int
    row: Row


@dataclass(frozen=True, slots=True)
class Inserted:
    """What the insert did: the ids of the new runs (None if all rows were new), and of those that are due later.

    `due_seconds` is until the first of these, or of deadlines, is due; `now` is the database's clock, when the new runs
    were born. `running` are those that were born under a claim, `live` the sessions with a leave that may have runs.
    """

    made: frozenset[str] | None
    later: frozenset[str]
    due_seconds: float | None
    now: int
    running: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()


# Two primary keys may refuse a row: a repeated id or a known key. Neither blocks longer than another enqueue of the
# same id or key takes to commit. Keys go in first, and each kind in order, so that two batches with the same runs meet
# in one order; `place` keeps the callers' order for those that claim. A key must not stand without its run, whose id
# another may have taken between this statement's snapshot and its insert: then all is undone and repeated.
#
# A row with a leave is born running if the leave holds: its session lives (locked as a claim locks it, but a session
# that is being buried is not waited for) and is not alone with a suspect run, the leave's time is not over, and no run
# of the route is queued (`runs_queued`): nobody is overtaken, nor in the batch itself, where of each route the first
# leave that does not hold ends them all.
#
# For runs with a key, a deadline, a parent, a retry of their own or a slot the statement has parts more; the others do
# not pay for them.
_INSERT: Final = f"""
WITH live AS MATERIALIZED (
  SELECT s.id, s.namespace, s.worker FROM aiki.sessions s
  WHERE s.id = ANY(%b) AND s.closed_at IS NULL AND s.expires_at > aiki.now()
    AND NOT EXISTS (SELECT FROM aiki.runs q
      WHERE q.session_id = s.id AND q.state = '{State.RUNNING}' AND q.crash_count >= {SUSPECT})
  FOR KEY SHARE SKIP LOCKED
), leave AS MATERIALIZED (
  SELECT l.place, l.session, l.claim_id, bool_and(
      s.id IS NOT NULL AND l.until_us > {MICROSECONDS.format("aiki.now()")}
      AND EXISTS (SELECT FROM aiki.session_routes o
        WHERE o.session_id = l.session AND o.workflow = l.workflow AND o.version = l.version)
      AND NOT EXISTS (SELECT FROM aiki.runs q
        WHERE q.namespace = l.namespace AND q.workflow = l.workflow AND q.version = l.version
          AND q.state = '{State.QUEUED}')
    ) OVER (PARTITION BY l.namespace, l.workflow, l.version ORDER BY l.nth) AS holds
  FROM unnest(%b, %b, %b, %b, %b, %b, %b) WITH ORDINALITY
    AS l(place, session, claim_id, until_us, namespace, workflow, version, nth)
  LEFT JOIN live s ON s.id = l.session AND s.namespace = l.namespace
), new AS MATERIALIZED (
  SELECT t.*, coalesce(
    'epoch'::timestamptz + start_us * interval '1 microsecond',
    aiki.now() + delay_us * interval '1 microsecond') AS due
  FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b{{slots}}{{slot}})
    AS t(place, id, namespace, workflow, version, priority, input, key, digest, labels, start_us, delay_us
      {{columns}}{{more}})
  {{are_unknown}}
), {{keyed}}made AS (
  INSERT INTO aiki.runs
    (created_at, id, namespace, workflow, version, state, priority, input, key, digest, labels, due_at, origin_id,
     epoch, history_seq, claim_id, session_id, last_claimed_at, started_at, starts_at{{kept}}{{more}})
  SELECT aiki.now() + new.place * interval '1 microsecond', id, namespace, workflow, version,
    CASE WHEN l.holds THEN '{State.RUNNING}' WHEN due > aiki.now() THEN '{State.SCHEDULED}' ELSE '{State.QUEUED}' END,
    priority, input, key, digest, labels::jsonb, CASE WHEN due > aiki.now() THEN due END, id,
    CASE WHEN l.holds THEN 1 ELSE 0 END, CASE WHEN l.holds THEN 1 ELSE 0 END, l.claim_id, l.session,
    CASE WHEN l.holds THEN aiki.now() END, CASE WHEN l.holds THEN aiki.now() END,
    CASE WHEN due > aiki.now() THEN due END{{kept}}{{more}}
  FROM new LEFT JOIN leave l ON l.place = new.place AND l.holds
  {{are_free}} ON CONFLICT DO NOTHING
  RETURNING id, state, due_at, session_id, namespace, created_at, labels, key
), claimed AS (
  INSERT INTO aiki.run_history (run_id, seq, move, actor)
  SELECT made.id, 1, '{Move.CLAIM}', live.worker FROM made JOIN live ON live.id = made.session_id
), {{listed}}{{deadlines}}
SELECT CASE WHEN count(*) < (%b)[1] THEN coalesce(array_agg(id::text), '{{{{}}}}') END,
  array_agg(id::text) FILTER (WHERE state = '{State.SCHEDULED}'),
  extract(epoch FROM least(min(due_at){{earliest}}) - aiki.now())::float8, {MICROSECONDS.format("aiki.now()")},
  array_agg(id::text) FILTER (WHERE state = '{State.RUNNING}'), (SELECT array_agg(id::text) FROM live)
FROM made {{are_whole}}
"""
_KEYED: Final = """
keyed AS (
  INSERT INTO aiki.keys (namespace, workflow, key, run_id, digest)
  SELECT n.namespace, n.workflow, n.key, n.id, n.digest FROM new n
  WHERE n.key IS NOT NULL AND NOT EXISTS (SELECT FROM aiki.runs r WHERE r.id = n.id)
  ORDER BY n.namespace, n.workflow, n.key, n.id
  ON CONFLICT DO NOTHING RETURNING run_id
),
"""
_ARE_FREE: Final = "WHERE new.key IS NULL OR new.id IN (SELECT run_id FROM keyed)"
_RARE: Final = ("retry", "fired")
"""Options with columns of their own names, which hardly any run has."""
_ARE_WHOLE: Final = "HAVING count(key) = (SELECT count(*) FROM keyed) OR aiki.again()"


@cache
def _insert(*, keyed: bool, timed: bool, parented: bool, beside: tuple[str, ...]) -> str:
    return _INSERT.format(
        slot=", %b" * len(beside),
        more="".join(f", {column}" for column in beside),
        **(births.PARENTED if parented else births.ALONE),
        keyed=_KEYED if keyed else "",
        are_free=_ARE_FREE if keyed else "",
        are_whole=_ARE_WHOLE if keyed else "",
        deadlines=deadlines.SET if timed else "",
        earliest=deadlines.EARLIEST if timed else "",
    )


async def insert(
    connection: Connection, rows: Sequence[Row], leaves: Sequence[Leave] = (), parents: Sequence[Birth] = ()
) -> Inserted:
    """Insert the rows that are new, and return what was done. Raises ValueError for a number that is too large.

    The leaves of a route are in the order in which its runs are to be handed over. All rows have `parents`, or none.
    """
    # Of rows with one id the first is the run: one statement cannot see what it has written itself.
    first = {run.id: place for place, (_, run) in reversed(list(enumerate(rows)))}
    order = [first[run_id] for run_id in sorted(first)]
    namespaces = [rows[place][0] for place in order]
    runs = [rows[place][1] for place in order]
    options = [run.options for run in runs]
    beside = _beside(options)
    parameters: list[Array] = [
        Uuids(list({leave.session for leave in leaves})),
        Ints([leave.place for leave in leaves]),
        Uuids([leave.session for leave in leaves]),
        Texts([leave.claim_id for leave in leaves]),
        Ints([leave.until_us for leave in leaves]),
        Texts([leave.row[0] for leave in leaves]),
        Texts([leave.row[1].workflow for leave in leaves]),
        Texts([leave.row[1].version for leave in leaves]),
        Ints(order),
        Uuids([run.id for run in runs]),
        Texts(namespaces),
        Texts([run.workflow for run in runs]),
        Texts([run.version for run in runs]),
        Ints([one.priority or 0 for one in options]),
        Blobs([bytes(run.input) for run in runs]),
        Texts([one.key for one in options]),
        Texts([run.digest for run in runs]),
        Texts([encode(one.labels).decode() if one.labels else None for one in options]),
        Ints([one.start_at for one in options]),
        Ints([one.delay for one in options]),
        *births.arrays([parents[place] for place in order] if parents else ()),
        *beside.values(),
        *(timed := deadlines.arrays(runs)),
        Ints([len(rows)]),
    ]
    keyed = any(one.key is not None for one in options)
    statement = _insert(keyed=keyed, timed=bool(timed), parented=bool(parents), beside=tuple(beside))
    ((made, later, due_seconds, now, running, live),) = await prepared.rows(connection, statement, parameters)
    ids = None if made is None else frozenset(made)
    return Inserted(ids, frozenset(later or ()), due_seconds, now, frozenset(running or ()), frozenset(live or ()))


def _beside(options: Sequence[RunOptions]) -> dict[str, Blobs]:
    """Return the columns that only some runs have, by their names, if one of these has anything there."""
    found = [name for name in _RARE if any(getattr(one, name) is not None for one in options)]
    columns = {name: [getattr(one, name) for one in options] for name in found}
    return {name: Blobs([None if one is None else encode(one) for one in column]) for name, column in columns.items()}


# Primary keys; plain reads that wait for nobody. A key may be held whose run is gone.
_BY_ID: Final = """
SELECT r.id::text, r.namespace, r.workflow, r.version, r.key, r.digest, sha256(r.input), r.state
FROM aiki.runs r WHERE r.id = ANY(%b)
"""
_BY_KEY: Final = """
SELECT k.run_id::text, k.namespace, k.workflow, coalesce(r.version, ''), k.key, k.digest,
  coalesce(sha256(r.input), ''), r.state
FROM unnest(%b, %b, %b) AS t(namespace, workflow, key)
JOIN aiki.keys k ON k.namespace = t.namespace AND k.workflow = t.workflow AND k.key = t.key
LEFT JOIN aiki.runs r ON r.id = k.run_id WHERE r.id IS NOT NULL OR k.expires_at IS NOT NULL
"""


async def find_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, Stored]:
    """Return the runs of these ids in any namespace, by id."""
    cursor = await connection.execute(_BY_ID, [Uuids(ids)], prepare=True, binary=True)
    return {row[0]: _stored(row) for row in await cursor.fetchall()}


async def find_by_key(connection: Connection, rows: Sequence[Row]) -> dict[tuple[str, str, str], Stored]:
    """Return the runs that hold the rows' idempotency keys, by (namespace, workflow, key)."""
    keyed = [(namespace, run.workflow, run.options.key) for namespace, run in rows if run.options.key is not None]
    parameters = [Texts([item[column] for item in keyed]) for column in range(3)]
    cursor = await connection.execute(_BY_KEY, parameters, prepare=True, binary=True)
    found = [_stored(row) for row in await cursor.fetchall()]
    return {(one.namespace, one.workflow, one.key or ""): one for one in found}


def _stored(row: Sequence[Any]) -> Stored:
    run_id, namespace, workflow, version, key, digest, input_hash, state = row
    return Stored(run_id, namespace, workflow, version, key, digest, input_hash, state and State(state))


# Primary keys. Whoever frees or moves the key meanwhile is waited for; what was moved is no longer the row that was
# looked at. A repeat finds its own run.
_FREE: Final = f"""
DELETE FROM aiki.keys k USING unnest(%b, %b, %b, %b) AS t(namespace, workflow, key, id)
WHERE k.namespace = t.namespace AND k.workflow = t.workflow AND k.key = t.key
  AND (k.expires_at IS NOT NULL
    OR (SELECT r.state FROM aiki.runs r WHERE r.id = k.run_id) IN ({quoted(TERMINAL)}))
  AND NOT EXISTS (SELECT FROM aiki.runs x WHERE x.id = t.id)
"""


async def free_keys(connection: Connection, rows: Sequence[Row]) -> None:
    """Take the rows' keys from runs that have ended, or are gone, unless the rows are stored already."""
    parameters = [
        Texts([namespace for namespace, _ in rows]),
        Texts([run.workflow for _, run in rows]),
        Texts([run.options.key for _, run in rows]),
        Uuids([run.id for _, run in rows]),
    ]
    await connection.execute(_FREE, parameters, prepare=True, binary=True)


# Primary key; a plain read that waits for nobody.
_HELD: Final = f"""
SELECT r.id::text, {MICROSECONDS.format("r.started_at")} FROM unnest(%b, %b) AS t(id, claim_id)
JOIN aiki.runs r ON r.id = t.id WHERE r.claim_id = t.claim_id AND r.state = '{State.RUNNING}'
"""


async def held(connection: Connection, leaves: Sequence[Leave]) -> dict[str, int]:
    """Return the runs that stand under the claims of their leaves, and since when."""
    parameters = [Uuids([leave.row[1].id for leave in leaves]), Texts([leave.claim_id for leave in leaves])]
    cursor = await connection.execute(_HELD, parameters, prepare=True, binary=True)
    return dict(await cursor.fetchall())
