"""Store runs that were exported: rows that look like a run's, and that nothing moves.

No key, deadline, errand or child's row goes with one, nobody holds it, and it has no date: so no statement that looks
for work finds it. The statements by which a person's order, an event or a retry changes runs pass over it. Its origin
is the run itself, whatever it was a retry of: so what is done to it reaches no other run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw

from aiki.core.states import IMPORTED, TERMINAL
from aiki.rules.crashing import SUSPECT
from aiki.rules.importing import stored_state
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import NULL, Entry, Import, ImportedArrival, ImportedFrom, ImportedRun
from aikid.store.arrays import Blobs, Bools, Ints, Texts, Uuids
from aikid.store.listing import LABELLED, LISTED
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, quoted

_TIME: Final = "'epoch'::timestamptz + {} * interval '1 microsecond'"
# The primary key may refuse it: somebody has the id. What lists and counts go by is written with it, in one statement.
_BEGIN: Final = f"""
WITH made AS (
  INSERT INTO aiki.runs (id, origin_id, namespace, workflow, version, state, priority, key, labels, input, output,
    error, attempt, generation, epoch, crash_count, news_seq, parent_id, depth, retry, fired, why, imported,
    created_at, started_at, began_at, finished_at)
  VALUES (%(id)s, %(origin_id)s, %(namespace)s, %(workflow)s, %(version)s, %(state)s, %(priority)s, %(key)s,
    %(labels)s::jsonb, %(input)s, %(output)s, %(error)s, %(attempt)s, %(generation)s, %(epoch)s, %(crash_count)s,
    %(news)s, %(parent_id)s, %(depth)s, %(retry)s, %(fired)s, %(why)s, %(imported)s,
    {_TIME.format("%(created_at)s::bigint")}, {_TIME.format("%(started_at)s::bigint")},
    {_TIME.format("%(began_at)s::bigint")}, {_TIME.format("%(finished_at)s::bigint")})
  ON CONFLICT DO NOTHING
  RETURNING id, namespace, workflow, version, state, created_at, labels, parent_id
), {LISTED.format(column=", is_child", value=", parent_id IS NOT NULL")}, {LABELLED}, closed AS (
  INSERT INTO aiki.ended (namespace, workflow, version, state, created_at, run_id)
  SELECT namespace, workflow, version, state, created_at, id FROM made WHERE state IN ({quoted(TERMINAL)})
), known AS (
  INSERT INTO aiki.routes (namespace, workflow, version) SELECT namespace, workflow, version FROM made
  ON CONFLICT DO NOTHING
)
SELECT count(*) FROM made
"""
# The primary key; whoever imports the same run waits here until this part is committed.
_LOCK: Final = "SELECT r.namespace, r.imported FROM aiki.runs r WHERE r.id = %s FOR NO KEY UPDATE"
_ENTRIES: Final = """
INSERT INTO aiki.journal (run_id, generation, seq, ok, turns_taken, at_us, key, value, asked)
SELECT %(id)s, r.generation, e.seq, e.ok, e.turns, e.at_us, e.key, e.value, nullif(e.asked, e.seq - 1)
FROM aiki.runs r, unnest(%(seqs)b, %(oks)b, %(turns)b, %(ats)b, %(keys)b, %(values)b, %(asked)b)
  AS e(seq, ok, turns, at_us, key, value, asked)
WHERE r.id = %(id)s ON CONFLICT DO NOTHING
"""
_TRIES: Final = f"""
INSERT INTO aiki.attempts
  (run_id, generation, key, attempt, at, next_at_us, error, epoch, journal_length, details, details_at_us)
SELECT %(id)s, r.generation, a.key, a.attempt, {_TIME.format("a.at_us")}, a.next_us, a.error, a.epoch, a.length,
  a.details, a.said_us
FROM aiki.runs r, unnest(%(keys)b, %(attempts)b, %(ats)b, %(next)b, %(errors)b, %(epochs)b, %(lengths)b, %(details)b,
  %(said)b) AS a(key, attempt, at_us, next_us, error, epoch, length, details, said_us)
WHERE r.id = %(id)s ON CONFLICT DO NOTHING
"""
_ARRIVALS: Final = """
INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, send_id, value, taken_generation, taken_seq)
SELECT %(id)s, i.number, %(id)s, i.at_us, i.kind, i.name, i.send_id::uuid, i.value,
  CASE WHEN %(taken)s THEN r.generation END, CASE WHEN %(taken)s THEN 0 END
FROM aiki.runs r, unnest(%(numbers)b, %(ats)b, %(kinds)b, %(names)b, %(sends)b, %(values)b)
  AS i(number, at_us, kind, name, send_id, value)
WHERE r.id = %(id)s ON CONFLICT DO NOTHING
"""
_MOVES: Final = f"""
INSERT INTO aiki.run_history (run_id, seq, at, move, reason, actor, journal_length)
SELECT %(id)s, m.seq, {_TIME.format("m.at_us")}, m.move, m.reason, m.actor, m.length
FROM unnest(%(seqs)b, %(ats)b, %(moves)b, %(reasons)b, %(actors)b, %(lengths)b)
  AS m(seq, at_us, move, reason, actor, length) ON CONFLICT DO NOTHING
"""
_PAYLOADS: Final = """
UPDATE aiki.runs r SET output = coalesce(%(output)s, r.output), error = coalesce(%(error)s, r.error)
WHERE r.id = %(id)s
"""
# Ends of ranges of primary keys, and the run's inbox.
_END: Final = f"""
WITH whole AS (
  UPDATE aiki.runs r SET imported = %(imported)s, why = coalesce(%(why)s, r.why),
    unread = (SELECT count(*) FROM aiki.inbox i WHERE i.run_id = r.id AND i.taken_seq IS NULL AND i.kind = 'event'),
    history_seq = 1 + coalesce((SELECT max(h.seq) FROM aiki.run_history h WHERE h.run_id = r.id), 0)
  WHERE r.id = %(id)s
    AND %(length)s = (SELECT count(*) FROM aiki.journal j WHERE j.run_id = r.id AND j.generation = r.generation)
  RETURNING r.id, r.generation, r.history_seq
), counted AS (
  INSERT INTO aiki.task_counts (run_id, generation, seq, tasks)
  SELECT w.id, w.generation, %(length)s, (SELECT count(*) FROM aiki.journal j
    WHERE j.run_id = w.id AND j.generation = w.generation AND starts_with(j.key, 'task:'))
  FROM whole w WHERE %(length)s > 0
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, reason, actor)
  SELECT w.id, w.history_seq, '{IMPORTED}', %(reason)s, %(actor)s FROM whole w
)
SELECT count(*) FROM whole
"""
_CLOCK: Final = f"SELECT {MICROSECONDS.format('aiki.now()')}"
# Primary key.
_KNOWN: Final = """
SELECT r.id::text, r.state FROM aiki.runs r
WHERE r.id = ANY(%b) AND r.namespace = %s AND r.imported IS NOT NULL
"""


async def clock(connection: Connection) -> int:
    """Return the database's clock."""
    return int((await _row(connection, _CLOCK, {}))[0])


async def begin(connection: Connection, namespace: str, run: ImportedRun, imported: ImportedFrom, why: str) -> bool:
    """Insert the run, unless its id is known; tell whether it is new."""
    state = stored_state(run.state)
    times = (run.started_at if run.first_at is None else run.first_at) if run.claims else None
    (count,) = await _row(
        connection,
        _BEGIN,
        {
            "id": run.id,
            "origin_id": run.id,
            "namespace": namespace,
            "workflow": run.workflow,
            "version": run.version,
            "state": state.value,
            "priority": run.priority,
            "key": run.key,
            "labels": encode(run.labels).decode() if run.labels else None,
            "input": bytes(run.input),
            "output": _raw(run.output),
            "error": _raw(run.error),
            "attempt": run.attempt,
            "generation": run.generation,
            "epoch": run.claims,
            "crash_count": SUSPECT if run.suspect else 0,
            "news": run.news,
            "parent_id": run.parent,
            "depth": run.depth or None,
            "retry": _raw(run.retry),
            "fired": None if run.fired is None else encode(run.fired),
            "why": run.why if state in TERMINAL else why,
            "imported": encode(imported),
            "created_at": run.created_at,
            "started_at": times,
            "began_at": run.started_at if run.generation and run.claims else None,
            "finished_at": run.finished_at,
        },
    )
    return bool(count)


async def lock(connection: Connection, run_id: str) -> tuple[str, ImportedFrom | None] | None:
    """Return the namespace of a run, and where it was imported from; None if there is no run of this id."""
    cursor = await connection.execute(_LOCK, [run_id], prepare=True, binary=True)
    row = await cursor.fetchone()
    if row is None:
        return None
    return row[0], None if row[1] is None else decoder(ImportedFrom).decode(row[1])


async def add(connection: Connection, part: Import) -> None:
    """Write what a part brings beside the run; what is there already stays. Primary keys."""
    if part.entries:
        await _execute(connection, _ENTRIES, part.id, _entries(part.entries, part.base))
    if part.tries:
        await _execute(connection, _TRIES, part.id, _tries(part))
    for arrivals, is_taken in ((part.ends, True), (part.unread, False)):
        if arrivals:
            await _execute(connection, _ARRIVALS, part.id, _arrivals(arrivals) | {"taken": is_taken})
    if part.moves:
        await _execute(connection, _MOVES, part.id, _moves(part))
    if part.output or part.error:
        await _execute(connection, _PAYLOADS, part.id, {"output": _raw(part.output), "error": _raw(part.error)})


async def end(connection: Connection, run_id: str, imported: ImportedFrom, *, length: int, why: str | None) -> bool:
    """Have the run be whole, if its journal has so many entries; tell whether it is."""
    reason = f"from namespace {imported.namespace!r}, where it was {imported.state}"
    told = {"imported": encode(imported), "why": why, "length": length, "reason": reason, "actor": imported.actor}
    (count,) = await _row(connection, _END, {"id": run_id} | told)
    return bool(count)


async def known(connection: Connection, namespace: str, run_ids: Sequence[str]) -> dict[str, str]:
    """Return those of the runs that were imported, with their states. Primary keys."""
    cursor = await connection.execute(_KNOWN, [Uuids(run_ids), namespace], prepare=True, binary=True)
    return dict(await cursor.fetchall())


# -- private


async def _row(connection: Connection, statement: str, parameters: dict[str, Any]) -> Any:
    row = await (await connection.execute(statement, parameters, prepare=True, binary=True)).fetchone()
    assert row is not None
    return row


async def _execute(connection: Connection, statement: str, run_id: str, parameters: dict[str, Any]) -> None:
    await connection.execute(statement, {"id": run_id} | parameters, prepare=True, binary=True)


def _raw(raw: Raw) -> bytes | None:
    return bytes(raw) or None


def _stored(raw: Raw) -> bytes | None:
    return None if raw == NULL else bytes(raw)


def _entries(entries: Sequence[Entry], base: int) -> dict[str, Any]:
    return {
        "seqs": Ints([*range(base + 1, base + 1 + len(entries))]),
        "oks": Bools([one.ok for one in entries]),
        "turns": Ints([one.turns for one in entries]),
        "ats": Ints([one.at for one in entries]),
        "keys": Texts([one.key for one in entries]),
        "values": Blobs([bytes(one.value) for one in entries]),
        "asked": Ints([one.asked for one in entries]),
    }


def _tries(part: Import) -> dict[str, Any]:
    tries = part.tries
    return {
        "keys": Texts([one.key for one in tries]),
        "attempts": Ints([one.attempt for one in tries]),
        "ats": Ints([one.at for one in tries]),
        "next": Ints([one.next_at for one in tries]),
        "errors": Blobs([_stored(one.error) for one in tries]),
        "epochs": Ints([one.epoch for one in tries]),
        "lengths": Ints([one.length for one in tries]),
        "details": Blobs([_stored(one.details) for one in tries]),
        "said": Ints([one.details_at for one in tries]),
    }


def _arrivals(arrivals: Sequence[ImportedArrival]) -> dict[str, Any]:
    return {
        "numbers": Ints([one.number for one in arrivals]),
        "ats": Ints([one.at for one in arrivals]),
        "kinds": Texts([one.kind for one in arrivals]),
        "names": Texts([one.name for one in arrivals]),
        "sends": Texts([one.id or None for one in arrivals]),
        "values": Blobs([bytes(one.value) for one in arrivals]),
    }


def _moves(part: Import) -> dict[str, Any]:
    return {
        "seqs": Ints([one.seq for one in part.moves]),
        "ats": Ints([one.at for one in part.moves]),
        "moves": Texts([one.move for one in part.moves]),
        "reasons": Texts([one.reason for one in part.moves]),
        "actors": Texts([one.actor for one in part.moves]),
        "lengths": Ints([one.length for one in part.moves]),
    }
