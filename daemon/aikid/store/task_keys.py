"""Keep the idempotency keys of tasks that several runs may use: who has each, what it has come to, and who waits.

Whoever judges a key has locked the run that asks, by the statement that wrote its unit, and then its key's row: runs
before keys, and keys in one order. So of two batches with the same keys one waits for the other, and never both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiki.core.states import State
from aiki.rules.sharing import Asker, KeyRow, Owner
from aiki.wire.messages import Unit
from aikid.store import prepared
from aikid.store.arrays import Blobs, Ints, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS

KEY: Final = "namespace, scope, task, key"
_ROW: Final = "run_id, generation, epoch, call, digest, at, session_id, done_at, expires_at, value"
_TIME: Final = "'epoch'::timestamptz + {} * interval '1 microsecond'"


class KeyId(NamedTuple):
    """By which a key is found; in this order they are locked."""

    namespace: str
    scope: str
    task: str
    key: str


class Place(NamedTuple):
    """A run in the line of those that wait for a key."""

    key: KeyId
    run_id: str
    generation: int
    call: str
    at: int
    """Since when."""


@dataclass(frozen=True, slots=True)
class Found:
    """A key, and what is looked at to judge it."""

    row: KeyRow | None
    owner: Owner | None
    left_lives: bool
    size: int
    """Bytes of its result."""


def on_key(one: str, other: str) -> str:
    """Return that two rows are of one key."""
    return " AND ".join(f"{one}.{column} = {other}.{column}" for column in KEY.split(", "))


def key_arrays(keys: Sequence[KeyId]) -> list[Texts]:
    """Return keys as columns."""
    return [Texts([key[column] for key in keys]) for column in range(4)]


# Primary key, no lock: by its fence a claim has one session and generation, as long as it holds.
_ASKERS: Final = """
SELECT u.n, r.workflow, r.generation, r.session_id::text
FROM unnest(%b, %b) WITH ORDINALITY AS u(run_id, claim_id, n) JOIN aiki.runs r ON r.id = u.run_id
WHERE r.claim_id = u.claim_id AND r.session_id IS NOT NULL
"""


async def askers(connection: Connection, units: Sequence[Unit]) -> dict[int, tuple[Asker, str]]:
    """Return by the places of units who asks by each that may hold, and the workflow of its run."""
    fences = [unit.fence for unit in units]
    parameters = [Uuids([fence.run_id for fence in fences]), Texts([fence.claim_id for fence in fences])]
    known = {}
    for n, workflow, generation, session_id in await prepared.rows(connection, _ASKERS, parameters):
        fence = fences[n - 1]
        known[n - 1] = Asker(fence.run_id, generation, fence.epoch, session_id), workflow
    return known


# By its primary key, in the order in which they are given. An update that changes nothing locks what is there, and
# makes no new version of it. The places of a run change under its lock alone: they are found by primary key, and stay
# where they are until they are deleted. (What returns a value is looked up for each; a join might be made a walk
# through the table, by a plan of when that was empty, as these tables often are.)
_LOCK: Final = f"""
WITH made AS (
  INSERT INTO aiki.task_keys AS k ({KEY}, run_id, generation, epoch, call, digest)
  SELECT {KEY}, run_id, generation, epoch, call, digest FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b)
    AS a({KEY}, run_id, generation, epoch, call, digest)
  ON CONFLICT ({KEY}) DO UPDATE SET call = k.call WHERE false
  RETURNING {KEY}
), left_line AS (
  DELETE FROM aiki.task_key_waiters w WHERE w.ctid = ANY(ARRAY(
    SELECT (SELECT x.ctid FROM aiki.task_key_waiters x WHERE {on_key("x", "o")} AND x.run_id = o.run_id)
    FROM unnest(%b, %b, %b, %b, %b) AS o({KEY}, run_id)))
  RETURNING w.namespace, w.scope, w.task, w.key, w.run_id, w.generation, w.at
)
SELECT {KEY}, NULL::text, NULL::integer, NULL::bigint FROM made
UNION ALL SELECT {KEY}, run_id::text, generation, {MICROSECONDS.format("at")} FROM left_line
"""


@dataclass(frozen=True, slots=True)
class Locked:
    """Keys whose rows were made, and the places in line that their askers had: the generation, and since when."""

    made: Set[KeyId]
    places: Mapping[tuple[KeyId, str], tuple[int, int]]


async def lock(connection: Connection, wanted: Mapping[KeyId, KeyRow], asks: Sequence[tuple[KeyId, str]]) -> Locked:
    """Lock the rows of keys, and make those that there are not, as `wanted` says. Whoever asks leaves the line."""
    keys = sorted(wanted)
    rows = [wanted[key] for key in keys]
    parameters = [
        *key_arrays(keys),
        Uuids([row.run_id for row in rows]),
        Ints([row.generation for row in rows]),
        Ints([row.epoch for row in rows]),
        Texts([row.call for row in rows]),
        Texts([row.digest for row in rows]),
        *key_arrays([key for key, _ in asks]),
        Uuids([run_id for _, run_id in asks]),
    ]
    made, places = set(), {}
    for *key, run_id, generation, at in await prepared.rows(connection, _LOCK, parameters):
        if run_id is None:
            made.add(KeyId(*key))
        else:
            places[KeyId(*key), run_id] = generation, at
    return Locked(made, places)


STANDS: Final = f"""
k.run_id::text, k.generation, k.epoch, k.call, k.digest, {MICROSECONDS.format("k.at")}, k.session_id::text,
  {MICROSECONDS.format("k.done_at")}, coalesce({MICROSECONDS.format("k.expires_at")}, 0),
  r.generation, CASE WHEN r.claim_id IS NOT NULL THEN r.epoch END, r.state,
  (SELECT s.closed_at IS NULL FROM aiki.sessions s WHERE s.id = k.session_id) IS TRUE,
  coalesce(octet_length(k.value), 0)
""".strip()
"""The columns of `found`: what is looked at to judge a key, of its row `k` and its owner's `r`."""
# Primary keys. The rows are locked by the statement before, so their owners are read as they stand since: one that is
# claimed later waits for the row before it tries anything.
_READ: Final = f"""
SELECT a.namespace, a.scope, a.task, a.key, {STANDS}
FROM unnest(%b, %b, %b, %b) AS a({KEY})
CROSS JOIN LATERAL (SELECT * FROM aiki.task_keys x WHERE {on_key("x", "a")} LIMIT 1) AS k
LEFT JOIN aiki.runs r ON r.id = k.run_id
"""


def found(columns: Sequence[Any]) -> Found:
    """Return what a row says in the columns of STANDS; all of it is null if nobody has the key."""
    row = None if columns[0] is None else KeyRow(*columns[:9])
    generation, epoch, state, left_lives, size = columns[9:]
    owner = None if state is None else Owner(generation, epoch, State(state))
    return Found(row, owner, left_lives, size)


async def read(connection: Connection, keys: Sequence[KeyId]) -> dict[KeyId, Found]:
    """Return how keys stand whose rows are locked; what there is not is left out."""
    rows = await prepared.rows(connection, _READ, key_arrays(keys))
    return {KeyId(*row[:4]): found(row[4:]) for row in rows}


# Primary keys.
_VALUES: Final = f"""
SELECT a.namespace, a.scope, a.task, a.key, (SELECT k.value FROM aiki.task_keys k WHERE {on_key("k", "a")})
FROM unnest(%b, %b, %b, %b) AS a({KEY})
"""


async def values(connection: Connection, keys: Sequence[KeyId]) -> dict[KeyId, bytes]:
    """Return the results of keys that are done."""
    return {KeyId(*key): value for *key, value in await prepared.rows(connection, _VALUES, key_arrays(keys))}


@dataclass(frozen=True, slots=True)
class Settling:
    """What becomes of keys that are locked, and who waits for them now."""

    put: Mapping[KeyId, tuple[KeyRow, bytes | None]]
    """Rows with their results."""
    gone: Sequence[KeyId]
    waits: Sequence[Place]
    told: Sequence[KeyId]
    """Keys of which whoever waits for them is to be told."""


# Primary keys; all rows of keys are locked. Whoever waits for one has taken its place with that locked: it is seen.
_SETTLE: Final = f"""
WITH put AS (
  INSERT INTO aiki.task_keys ({KEY}, {_ROW})
  SELECT {KEY}, run_id, generation, epoch, call, digest, {_TIME.format("at_us")}, session_id::uuid,
    {_TIME.format("done_us")}, {_TIME.format("expires_us")}, value
  FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
    AS p({KEY}, run_id, generation, epoch, call, digest, at_us, session_id, done_us, expires_us, value)
  ON CONFLICT ({KEY}) DO UPDATE SET ({_ROW}) = ROW({", ".join(f"excluded.{column}" for column in _ROW.split(", "))})
), gone AS (
  DELETE FROM aiki.task_keys k WHERE k.ctid = ANY(ARRAY(
    SELECT (SELECT x.ctid FROM aiki.task_keys x WHERE {on_key("x", "g")}) FROM unnest(%b, %b, %b, %b) AS g({KEY})))
), waits AS (
  INSERT INTO aiki.task_key_waiters ({KEY}, run_id, generation, call, at)
  SELECT {KEY}, run_id, generation, call, {_TIME.format("at_us")} FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b)
    AS n({KEY}, run_id, generation, call, at_us)
)
SELECT t.namespace, t.scope, t.task, t.key FROM unnest(%b, %b, %b, %b) AS t({KEY})
WHERE (SELECT w.key FROM aiki.task_key_waiters w WHERE {on_key("w", "t")} LIMIT 1) IS NOT NULL
"""


async def settle(connection: Connection, settling: Settling) -> list[KeyId]:
    """Carry it out, and return those of the keys to be told of that somebody waits for."""
    rows, waits = [row for row, _ in settling.put.values()], settling.waits
    parameters = [
        *key_arrays(list(settling.put)),
        Uuids([row.run_id for row in rows]),
        Ints([row.generation for row in rows]),
        Ints([row.epoch for row in rows]),
        Texts([row.call for row in rows]),
        Texts([row.digest for row in rows]),
        Ints([row.at for row in rows]),
        Texts([row.session_id for row in rows]),
        Ints([row.done_at for row in rows]),
        Ints([None if row.done_at is None else row.expires_at for row in rows]),
        Blobs([value for _, value in settling.put.values()]),
        *key_arrays(settling.gone),
        *key_arrays([place.key for place in waits]),
        Uuids([place.run_id for place in waits]),
        Ints([place.generation for place in waits]),
        Texts([place.call for place in waits]),
        Ints([place.at for place in waits]),
        *key_arrays(settling.told),
    ]
    return [KeyId(*row) for row in await prepared.rows(connection, _SETTLE, parameters)]
