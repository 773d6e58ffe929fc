"""Read what a retry needs to know of runs that have ended, and of the children that they wait for.

A run that has ended is changed by nothing but a retry of its own, so all this is read without a lock. `lock` then takes
the rows that are to be changed, and undoes everything if one of them is no longer as it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Raw
from psycopg.errors import SerializationFailure

from aiki.core.keys import RETRY, STARTS, beginning
from aiki.core.states import State
from aiki.wire.messages import NULL, Entry
from aikid.store.arrays import Uuids
from aikid.store.errands import CLOSE
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, MOVABLE
from aikid.store.units import ASKED


@dataclass(frozen=True, slots=True)
class Row:
    """A run, as it was read."""

    id: str
    namespace: str
    origin_id: str
    workflow: str
    version: str
    state: State
    generation: int
    attempt: int
    error: bytes | None
    began_at: int
    retried_by: str | None
    is_closing: bool
    """Whether its children are still to be told of its end."""
    is_cancelled: bool
    fired: bytes | None
    now: int
    """The database's clock."""


@dataclass(frozen=True, slots=True)
class ChildRow:
    """A start of a run, and the newest retry of the run that it stands for."""

    parent_id: str
    start_id: str
    run_id: str
    state: State
    is_owned: bool
    is_cancelled: bool


# Primary keys, ranges of them, and `inbox`'s own; nobody is waited for.
_ROWS: Final = f"""
SELECT r.id::text, r.namespace, r.origin_id::text, r.workflow, r.version, r.state, r.generation, r.attempt, r.error,
  {MICROSECONDS.format("coalesce(r.began_at, r.started_at, r.created_at)")}, r.retried_by::text,
  EXISTS (SELECT FROM aiki.errands e WHERE e.run_id = r.id AND e.kind = '{CLOSE}'), r.cancel_seq IS NOT NULL,
  r.fired, {MICROSECONDS.format("aiki.now()")}
FROM aiki.runs r WHERE r.id = ANY(%b) AND {MOVABLE} ORDER BY r.id
"""
_JOURNALS: Final = f"""
SELECT r.id::text, j.key, j.ok, CASE WHEN starts_with(j.key, '{beginning(RETRY)}')
    OR starts_with(j.key, '{beginning(STARTS)}') THEN j.value END, j.at_us, {ASKED.format("j")}
FROM aiki.runs r JOIN aiki.journal j ON j.run_id = r.id AND j.generation = r.generation
WHERE r.id = ANY(%b) ORDER BY j.run_id, j.seq
"""
_ONCE: Final = """
SELECT r.id::text, a.key FROM aiki.runs r JOIN aiki.attempts a ON a.run_id = r.id AND a.generation = r.generation
WHERE r.id = ANY(%b) AND a.error IS NULL
"""
_CHILDREN: Final = """
SELECT c.parent_id::text, c.start_id::text, n.id::text, n.state, c.owned, n.cancel_seq IS NOT NULL
FROM aiki.runs p JOIN aiki.children c ON c.parent_id = p.id AND c.generation = p.generation
JOIN aiki.runs r ON r.id = c.run_id LEFT JOIN aiki.origins o ON o.origin_id = r.origin_id
JOIN aiki.runs n ON n.id = coalesce(o.run_id, r.id)
WHERE p.id = ANY(%b) ORDER BY c.parent_id, c.start_id
"""
# What a run was told of its children: of the outcomes of ops only those that tell of a start.
_TOLD: Final = """
SELECT i.run_id::text, i.kind, i.name, i.taken_seq
FROM aiki.runs r JOIN aiki.inbox i ON i.run_id = r.id AND i.taken_generation = r.generation
WHERE r.id = ANY(%b) AND r.children > 0 AND i.taken_seq IS NOT NULL AND (i.kind = 'child' OR i.kind = 'op'
  AND (SELECT c.owned FROM aiki.children c WHERE c.parent_id = r.id AND c.start_id::text = i.name) IS NOT NULL)
"""
_NEWEST: Final = """
SELECT r.id::text, n.id::text, n.state FROM aiki.runs r
JOIN aiki.origins o ON o.origin_id = r.origin_id JOIN aiki.runs n ON n.id = o.run_id WHERE r.id = ANY(%b)
"""
# In the order of their ids, as every statement locks runs.
_LOCK: Final = """
SELECT r.id::text, r.state, r.retried_by IS NOT NULL, r.cancel_seq IS NOT NULL
FROM aiki.runs r WHERE r.id = ANY(%b) ORDER BY r.id FOR NO KEY UPDATE
"""


async def rows(connection: Connection, run_ids: Sequence[str]) -> dict[str, Row]:
    """Return those of the runs that exist, in any namespace, by id."""
    found = await _read(connection, _ROWS, run_ids)
    return {
        run_id: Row(run_id, namespace, origin_id, workflow, version, State(state), *rest)
        for run_id, namespace, origin_id, workflow, version, state, *rest in found
    }


async def journals(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[Entry]]:
    """Return the entries of the runs' generations in their order, without values but for retries and starts."""
    made: dict[str, list[Entry]] = {run_id: [] for run_id in run_ids}
    for run_id, key, ok, value, at, asked in await _read(connection, _JOURNALS, run_ids):
        made[run_id].append(Entry(key, ok, NULL if value is None else Raw(value), at, None, asked))
    return made


async def once(connection: Connection, run_ids: Sequence[str]) -> dict[str, set[str]]:
    """Return by run the calls of tasks that have begun and may not begin twice."""
    made: dict[str, set[str]] = {}
    for run_id, key in await _read(connection, _ONCE, run_ids):
        made.setdefault(run_id, set()).add(key)
    return made


async def children(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[ChildRow]]:
    """Return by run the children of its generation."""
    made: dict[str, list[ChildRow]] = {}
    for parent_id, start_id, run_id, state, is_owned, is_cancelled in await _read(connection, _CHILDREN, run_ids):
        made.setdefault(parent_id, []).append(
            ChildRow(parent_id, start_id, run_id, State(state), is_owned, is_cancelled)
        )
    return made


async def told(connection: Connection, run_ids: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Return by run and kind (`child`, `op`), and by start, the entry that told it of the child."""
    made: dict[str, dict[str, dict[str, int]]] = {}
    for run_id, kind, start_id, seq in await _read(connection, _TOLD, run_ids):
        made.setdefault(run_id, {}).setdefault(kind, {})[start_id] = seq
    return made


async def newest(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[str, State]]:
    """Return of runs that were retried, or are retries, the newest of their origin and its state."""
    return {run_id: (new, State(state)) for run_id, new, state in await _read(connection, _NEWEST, run_ids)}


async def lock(connection: Connection, was: Iterable[tuple[str, State, bool]]) -> None:
    """Lock runs that are as they were read: id, state, whether it was cancelled. Raises SerializationFailure if not.

    None of them was retried.
    """
    known = {run_id: (state, False, is_cancelled) for run_id, state, is_cancelled in was}
    found = await _read(connection, _LOCK, list(known))
    if {run_id: (State(state), *marks) for run_id, state, *marks in found} != known:
        raise SerializationFailure("what was read of a family is older than its locks")


async def _read(connection: Connection, statement: str, run_ids: Sequence[str]) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, [Uuids(run_ids)], prepare=True, binary=True)).fetchall()
