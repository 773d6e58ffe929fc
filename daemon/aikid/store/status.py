"""Read runs as their watchers see them: by id, hot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from aiki.core.keys import DETAILS, TASK, beginning
from aiki.core.states import Move, State, sources
from aiki.wire.codec import decoder
from aiki.wire.messages import NONE, NULL, Attempt, CancelNote, Fired, ImportedFrom, RunStatus, Said, TaskProgress
from aikid.store.arrays import Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, UNDER_WAY

_PARKED: Final = sources(Move.DUE)
_TASKS: Final = beginning(TASK)
_labels = msgspec.json.Decoder(dict[str, str])
_times = ", ".join(MICROSECONDS.format(f"r.{name}") for name in ("created_at", "started_at", "finished_at", "due_at"))
COUNTED: Final = 100
"""Entries of a journal of which there may be no count yet: with each that many, it is written how many are tasks'."""
# Primary key of `task_counts` from the right, and that of the journal from there on.
TASKS: Final = f"""
(SELECT coalesce(m.tasks, 0) + (
    SELECT count(*) FROM aiki.journal j WHERE j.run_id = {{run_id}} AND j.generation = {{generation}}
      AND j.seq > coalesce(m.seq, 0) AND starts_with(j.key, '{_TASKS}'))
  FROM (SELECT) AS always LEFT JOIN LATERAL (
    SELECT c.seq, c.tasks FROM aiki.task_counts c WHERE c.run_id = {{run_id}} AND c.generation = {{generation}}
    ORDER BY c.seq DESC LIMIT 1
  ) AS m ON true)
"""
"""How many task outcomes a run's journal holds, of one generation."""
# Primary keys of runs, journal (the end of a range per run), sessions, deadlines and inbox; a plain read, it waits for
# nobody.
COLUMNS: Final = f"""
  r.id::text, r.workflow, r.version, r.state, {_times}, r.epoch, r.key, r.priority, r.labels::text, r.why,
  {TASKS.format(run_id="r.id", generation="r.generation")},
  (SELECT s.worker FROM aiki.sessions s WHERE s.id = r.session_id), NULLIF(r.origin_id, r.id)::text, r.attempt,
  (SELECT {MICROSECONDS.format("coalesce(d.at, d.look_at)")} FROM aiki.deadlines d WHERE d.run_id = r.id), r.unread,
  r.waits, CASE WHEN r.cancel_seq IS NOT NULL AND r.why IS NULL AND r.finished_at IS NULL THEN (
    SELECT i.value FROM aiki.inbox i WHERE i.run_id = r.id AND i.number = r.cancel_seq) END,
  r.parent_id::text, r.depth, r.children, CASE WHEN r.retried_by IS NOT NULL THEN (
    SELECT o.run_id::text FROM aiki.origins o WHERE o.origin_id = r.origin_id) END, r.generation, r.fired, r.imported
"""
# Primary key of `attempts`, whole.
_DETAILS: Final = f"""
(SELECT a.details FROM aiki.attempts a
  WHERE a.run_id = r.id AND a.generation = r.generation AND a.key = '{DETAILS}' AND a.attempt = 1)
"""
_STATUS: Final = f"""
SELECT {COLUMNS}, r.output, r.error, {_DETAILS}, r.namespace
FROM unnest(%b, %b) AS t(id, namespace) JOIN aiki.runs r ON r.id = t.id AND r.namespace = t.namespace
"""


async def read(connection: Connection, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], RunStatus]:
    """Return the runs that exist of `wanted`, pairs of namespace and id."""
    parameters = [Uuids([run_id for _, run_id in wanted]), Texts([namespace for namespace, _ in wanted])]
    cursor = await connection.execute(_STATUS, parameters, prepare=True, binary=True)
    return {(row[-1], row[0]): to_status(row[:-2], details=row[-2]) for row in await cursor.fetchall()}


# `attempts`' primary key from the left: the tries of each run. One whose date has passed is being made, or is over.
_DUE: Final = f"""
SELECT DISTINCT ON (a.run_id) a.run_id::text, a.key, a.attempt, a.error, a.next_at_us
FROM aiki.runs r JOIN aiki.attempts a ON a.run_id = r.id AND a.generation = r.generation
WHERE r.id = ANY(%b) AND a.next_at_us > {MICROSECONDS.format("aiki.now()")} AND a.error IS NOT NULL
ORDER BY a.run_id, a.next_at_us
"""


async def due_attempts(connection: Connection, run_ids: Sequence[str]) -> dict[str, Attempt]:
    """Return, of each run that has one, the try that failed and is due again first, with what went wrong."""
    cursor = await connection.execute(_DUE, [Uuids(run_ids)], prepare=True, binary=True)
    found = await cursor.fetchall()
    return {run_id: Attempt(key, attempt, Raw(error), next_at) for run_id, key, attempt, error, next_at in found}


# `attempts`' primary key from the left, as above. What ended or failed is no longer under way, or says nothing.
_SAID: Final = f"""
SELECT a.run_id::text, a.key, a.attempt, a.details, a.details_at_us
FROM aiki.runs r JOIN aiki.attempts a ON a.run_id = r.id AND a.generation = r.generation
WHERE r.id = ANY(%b) AND a.details IS NOT NULL AND a.key <> '{DETAILS}' AND coalesce(a.error, {UNDER_WAY}) = {UNDER_WAY}
ORDER BY a.details_at_us DESC LIMIT %s
"""


async def progress(connection: Connection, run_ids: Sequence[str], *, limit: int) -> dict[str, list[TaskProgress]]:
    """Return, of each run, how far the tasks are that run and have said so: the last `limit` of all."""
    cursor = await connection.execute(_SAID, [Uuids(run_ids), limit], prepare=True, binary=True)
    found: dict[str, list[TaskProgress]] = {}
    for run_id, key, attempt, details, at in await cursor.fetchall():
        said = decoder(Said).decode(details)
        if said.fraction is not None:
            found.setdefault(run_id, []).append(TaskProgress(key, attempt, said.fraction, said.message, at))
    return found


def to_status(row: Sequence[Any], *, details: bytes | None = None) -> RunStatus:
    """Return a row of COLUMNS as it travels; output, error and the size of an output left out may follow."""
    (id, workflow, version, state, created_at, started_at, finished_at, due_at, epoch, key, priority, labels) = row[:12]
    why, tasks, worker, origin_id, attempt, deadline, unread, waits, cancel, parent_id, depth, children = row[12:24]
    retried_by, generation, fired, imported = row[24:28]
    output, error, output_bytes = [*row[28:], None, None, None][:3]
    came_from = None if imported is None else decoder(ImportedFrom).decode(imported)
    return RunStatus(
        id=id,
        workflow=workflow,
        version=version,
        state=State(state),
        created_at=created_at,
        started_at=started_at,
        finished_at=finished_at,
        due_at=due_at if state in _PARKED else None,
        claims=epoch,
        attempt=attempt,
        key=key,
        priority=priority,
        labels=_labels.decode(labels) if labels else {},
        why=why,
        tasks=tasks,
        worker=worker,
        origin_id=origin_id if came_from is None else came_from.origin,
        output=NONE if output is None else Raw(output),
        error=NONE if error is None else Raw(error),
        output_bytes=output_bytes,
        deadline=deadline,
        unread=unread,
        waits=waits or [],
        details=NONE if details is None else _shown(details),
        cancel=None if cancel is None else decoder(CancelNote).decode(cancel),
        parent_id=parent_id,
        depth=depth or 0,
        children=children or 0,
        retried_by=retried_by,
        generation=generation,
        fired=None if fired is None else decoder(Fired).decode(fired),
        imported=came_from,
    )


def _shown(said: bytes) -> Raw:
    details = decoder(Said).decode(said).details
    return NONE if details == NULL else details
