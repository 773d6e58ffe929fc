"""Read journals, and the tries beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Raw

from aiki.wire.messages import NULL, UNDER_WAY, Attempt, Entry
from aikid.store.arrays import Ints, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH
from aikid.store.units import ASKED

# Everything here is of the generation that a run is in: what earlier ones left is for the pruner alone.
_LENGTHS: Final = f"""
SELECT r.id::text, {LENGTH.format("r")},
  EXISTS (SELECT FROM aiki.attempts a WHERE a.run_id = r.id AND a.generation = r.generation)
FROM aiki.runs r WHERE r.id = ANY(%b)
"""
# Walks the primary key of these runs' journals once, as far as it is told; the window counts bytes until the page is
# full.
_FIRST_PAGES: Final = f"""
SELECT run_id::text, key, ok, value, at_us, turns_taken, {ASKED.format("counted")} FROM (
  SELECT j.run_id, j.seq, j.ok, j.turns_taken, j.at_us, j.key, j.value, j.asked, t.place,
    sum(octet_length(j.value) + octet_length(j.key) + 64) OVER (ORDER BY t.place, j.seq) AS bytes
  FROM unnest(%b, %b) WITH ORDINALITY AS t(run_id, most, place)
  JOIN aiki.runs r ON r.id = t.run_id
  JOIN aiki.journal j ON j.run_id = r.id AND j.generation = r.generation AND j.seq <= t.most
) AS counted WHERE bytes <= %b ORDER BY place, seq
"""
ENTRY_BYTES: Final = 64
"""What an entry counts at least on a page."""
_PAGE: Final = f"""
SELECT key, ok, value, at_us, turns_taken, {ASKED.format("counted")} FROM (
  SELECT j.*, sum(octet_length(j.value) + octet_length(j.key) + 64) OVER (ORDER BY j.seq) AS bytes
  FROM (
    SELECT seq, ok, turns_taken, at_us, key, value, asked FROM aiki.journal WHERE run_id = %(run_id)s
      AND generation = (SELECT r.generation FROM aiki.runs r WHERE r.id = %(run_id)s) AND seq > %(after)s
    ORDER BY seq LIMIT 2000
  ) AS j
) AS counted WHERE bytes <= %(limit_bytes)s OR seq = %(after)s + 1 ORDER BY seq
"""


async def lengths(connection: Connection, run_ids: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Return how many entries the runs' journals hold, and which of the runs have tries beside them."""
    cursor = await connection.execute(_LENGTHS, [Uuids(run_ids)], prepare=True, binary=True)
    rows = await cursor.fetchall()
    return {run_id: length for run_id, length, _ in rows}, [run_id for run_id, _, has_tries in rows if has_tries]


async def first_pages(
    connection: Connection, lengths: Mapping[str, int], *, limit_bytes: int
) -> dict[str, list[Entry]]:
    """Return the first entries of runs, in order, until `limit_bytes` are full for all together.

    `lengths` says how long their journals are: what could not fit is not read.
    """
    parameters: list[Any] = [*_within(lengths, limit_bytes // ENTRY_BYTES), limit_bytes]
    cursor = await connection.execute(_FIRST_PAGES, parameters, prepare=True, binary=True)
    pages: dict[str, list[Entry]] = {}
    for run_id, *entry in await cursor.fetchall():
        pages.setdefault(run_id, []).append(to_entry(*entry))
    return pages


def _within(lengths: Mapping[str, int], most: int) -> tuple[Uuids, Ints]:
    """Return the runs, from the first on, whose journals have `most` entries together, and how many of each."""
    parts: dict[str, int] = {}
    for run_id, length in lengths.items():
        parts[run_id] = min(length, most)
        if not (most := most - parts[run_id]):
            break
    return Uuids(list(parts)), Ints(list(parts.values()))


async def page(connection: Connection, run_id: str, *, after: int, limit_bytes: int) -> list[Entry]:
    """Return the entries after `after`, in order: as many as fit `limit_bytes`, at least one if there is one."""
    parameters = {"run_id": run_id, "after": after, "limit_bytes": limit_bytes}
    cursor = await connection.execute(_PAGE, parameters, prepare=True, binary=True)
    return [to_entry(*row) for row in await cursor.fetchall()]


_OF_NAMESPACE: Final = "SELECT id::text FROM aiki.runs WHERE id = ANY(%b) AND namespace = %s"


async def of_namespace(connection: Connection, namespace: str, run_ids: Sequence[str]) -> set[str]:
    """Return those of the runs that exist in the namespace."""
    cursor = await connection.execute(_OF_NAMESPACE, [Uuids(run_ids), namespace], prepare=True, binary=True)
    return {row[0] for row in await cursor.fetchall()}


_FAILED: Final = Raw(b"{}")
"""That a try has failed: of what is for the run's story alone."""
_ERROR: Final = (
    f"CASE WHEN a.error = '{bytes(UNDER_WAY).decode()}' THEN a.error"
    f" WHEN a.error IS NULL THEN '{bytes(NULL).decode()}' ELSE '{bytes(_FAILED).decode()}' END"
)
# `attempts`' primary key from the left, no further than what is returned.
_NEXT_ATTEMPTS: Final = f"""
SELECT DISTINCT ON (a.key) a.key, a.attempt, a.next_at_us, a.details, a.details_at_us, {_ERROR}
FROM aiki.attempts a
WHERE a.run_id = %(run_id)s AND a.generation = (SELECT r.generation FROM aiki.runs r WHERE r.id = %(run_id)s)
  AND a.key > %(after)s
ORDER BY a.key, a.attempt DESC LIMIT %(limit)s
"""
# The last try of each key; earlier ones only tell the run's story.
_ATTEMPTS: Final = f"""
SELECT DISTINCT ON (a.run_id, a.key)
  a.run_id::text, a.key, a.attempt, a.next_at_us, a.details, a.details_at_us, {_ERROR}
FROM aiki.runs r JOIN aiki.attempts a ON a.run_id = r.id AND a.generation = r.generation
WHERE r.id = ANY(%b) ORDER BY a.run_id, a.key, a.attempt DESC
"""


async def last_attempts(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Return the last attempt of each task that has one, by run, without its error."""
    cursor = await connection.execute(_ATTEMPTS, [Uuids(run_ids)], prepare=True, binary=True)
    found: dict[str, list[Attempt]] = {}
    for run_id, *row in await cursor.fetchall():
        found.setdefault(run_id, []).append(_tried(*row))
    return found


async def next_attempts(connection: Connection, run_id: str, *, after: str, limit: int) -> list[Attempt]:
    """Return the last attempts of the tasks whose keys come after `after`, in the order of their keys."""
    parameters = {"run_id": run_id, "after": after, "limit": limit}
    cursor = await connection.execute(_NEXT_ATTEMPTS, parameters, prepare=True, binary=True)
    return [_tried(*row) for row in await cursor.fetchall()]


def _tried(
    key: str, attempt: int, next_at: int | None, details: bytes | None, details_at: int | None, error: bytes
) -> Attempt:
    return Attempt(key, attempt, Raw(error), next_at, NULL if details is None else Raw(details), details_at)


def to_entry(key: str, ok: bool, value: bytes, at: int, turns: int | None, asked: int) -> Entry:
    """Return a journal row as it travels."""
    return Entry(key, ok, Raw(value), at, turns, asked)
