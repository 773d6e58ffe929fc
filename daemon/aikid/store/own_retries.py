"""Have runs go on by their own rule, whose claims have just ended by that: in the same transaction, with locked rows.

What they took behind the cut is unread again, in its order; in a new generation, all that the one before took. The ends
of children that they wait for are forgotten, also if nobody has taken them: those that failed are retried and end anew,
and of the others they are told once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.keys import RETRY, beginning
from aikid.store import errands, prepared
from aikid.store.arrays import Ints, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import LENGTH, MICROSECONDS


@dataclass(frozen=True, slots=True)
class GoesOn:
    """A run that goes on from where it failed."""

    run_id: str
    length: int
    """Of its journal, whose last entry is that of the retry."""
    tasks: int
    """How many outcomes of tasks count of those before."""
    kept: Sequence[tuple[int, int]]
    """The stretches of entries that stay in force."""
    starts: Sequence[tuple[str, str]]
    """The children that it waits for: ids of starts, and of the runs that they stand for now."""


# A run that is to go on later goes on now: its time is to be that of now, and not run ahead. The last entry of its
# journal, by its primary key, is that of its retry if it has not gone on yet.
_NOW: Final = MICROSECONDS.format("aiki.now()")
EARLY: Final = f"""
early AS (
  UPDATE aiki.journal j SET at_us = {_NOW} FROM {{0}} e JOIN aiki.runs r ON r.id = e.id
  WHERE j.run_id = r.id AND j.generation = r.generation AND j.seq = {LENGTH.format("r")}
    AND starts_with(j.key, '{beginning(RETRY)}') AND j.at_us > {_NOW}
)
"""
"""A common table expression beside one that has queued runs before their time."""
# All of it is addressed by primary keys, or ranges of them, of runs that are locked.
_BACK: Final = """
WITH kept AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b) AS k(run_id, first, last)
), start AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b) AS s(run_id, start_id, child_id)
), row AS MATERIALIZED (
  SELECT i.run_id, i.number, i.kind FROM aiki.runs r JOIN aiki.inbox i ON i.run_id = r.id
  WHERE r.id = ANY(%b) AND CASE WHEN i.kind = 'child' THEN EXISTS (
      SELECT FROM start s WHERE s.run_id = i.run_id AND s.start_id::text = i.name)
    ELSE i.kind IN ('event', 'op') AND i.taken_seq IS NOT NULL AND i.taken_generation = r.generation
      AND NOT EXISTS (SELECT FROM kept k WHERE k.run_id = i.run_id AND i.taken_seq BETWEEN k.first AND k.last) END
), gone AS (
  DELETE FROM aiki.inbox i USING row w WHERE i.run_id = w.run_id AND i.number = w.number AND w.kind = 'child'
), back AS (
  UPDATE aiki.inbox i SET taken_generation = NULL, taken_seq = NULL
  FROM row w WHERE i.run_id = w.run_id AND i.number = w.number AND w.kind <> 'child'
  RETURNING i.run_id, i.kind
), stand AS (
  UPDATE aiki.children c SET run_id = s.child_id FROM start s
  WHERE c.parent_id = s.run_id AND c.start_id = s.start_id AND c.run_id <> s.child_id
)
UPDATE aiki.runs r SET attempt = r.attempt + 1,
  unread = r.unread + (SELECT count(*) FROM back b WHERE b.run_id = r.id AND b.kind = 'event')
WHERE r.id = ANY(%b)
RETURNING r.id::text
"""
_COUNTED: Final = """
INSERT INTO aiki.task_counts AS known (run_id, generation, seq, tasks)
SELECT r.id, r.generation, c.seq, c.tasks FROM unnest(%b, %b, %b) AS c(run_id, seq, tasks)
JOIN aiki.runs r ON r.id = c.run_id
ON CONFLICT (run_id, generation, seq) DO UPDATE SET tasks = excluded.tasks
RETURNING known.run_id::text
"""


async def go_on(connection: Connection, runs: Sequence[GoesOn]) -> None:
    """Have runs go on from where they failed."""
    ids = Uuids([run.run_id for run in runs])
    kept = [(run.run_id, *stretch) for run in runs for stretch in run.kept]
    starts = [(run.run_id, *start) for run in runs for start in run.starts]
    back = [
        *(Uuids([run_id for run_id, *_ in kept]), Ints([first for _, first, _ in kept])),
        Ints([last for *_, last in kept]),
        *(Uuids([one[place] for one in starts]) for place in range(3)),
    ]
    await prepared.rows(connection, _BACK, [*back, ids, ids])
    counts = [ids, Ints([run.length for run in runs]), Ints([run.tasks for run in runs])]
    await prepared.rows(connection, _COUNTED, counts)


# The generation was swapped by the statement before.
_ANEW: Final = f"""
WITH back AS (
  UPDATE aiki.inbox i SET taken_generation = NULL, taken_seq = NULL FROM aiki.runs r
  WHERE r.id = ANY(%b) AND i.run_id = r.id AND i.taken_generation = r.generation - 1 AND i.kind = 'event'
  RETURNING i.run_id
), closing AS (
  INSERT INTO aiki.errands (run_id, kind, upto)
  SELECT r.id, '{errands.CLOSE}', r.children FROM aiki.runs r WHERE r.id = ANY(%b) AND r.children > 0
  {errands.AGAIN} RETURNING run_id
), moved AS (
  UPDATE aiki.runs r SET unread = r.unread + (SELECT count(*) FROM back b WHERE b.run_id = r.id)
  WHERE r.id = ANY(%b) RETURNING r.id
)
SELECT count(*) FROM closing
"""


async def begin_anew(connection: Connection, run_ids: Sequence[str]) -> int:
    """Have runs begin anew, in a new generation; return how many errands that leaves: their children are to end."""
    ids = Uuids(run_ids)
    ((left,),) = await prepared.rows(connection, _ANEW, [ids, ids, ids])
    return int(left)
