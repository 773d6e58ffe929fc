"""Let runs go on in their next generation, in the commit that ends their claim by it: `swap`.

A generation has a journal, tries and counts of its own, which are keyed by it. So nothing is deleted here, and whoever
still writes for the one that was left writes nothing: its claim is over. Always by way of `queued`: under a kept claim
the late repeat of a first unit would be taken for one of the new generation's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiki.core.keys import DETAILS
from aiki.core.states import State
from aiki.rules.moving import ANSWERS
from aiki.wire.messages import Unit
from aikid.store import prepared
from aikid.store.arrays import Blobs, Ints, Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import quoted

# The rows were locked, and have left their claims, by the statement before, in this transaction. Events that are unread
# stay, and a cancel: outcomes of what the last generation has asked for, and ends of its children, are nobody's any
# more (`inbox_unread`). What it shows of itself stays until it shows something else. All by primary keys.
_SWAP: Final = f"""
WITH swap AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b, %b) AS s(place, run_id, input, version)
), moved AS (
  UPDATE aiki.runs r SET generation = r.generation + 1, input = coalesce(s.input, r.input),
    version = coalesce(s.version, r.version), attempt = CASE WHEN s.input IS NULL THEN r.attempt + 1 ELSE 1 END,
    crash_length = 0, began_at = NULL
  FROM swap s WHERE r.id = s.run_id
  RETURNING s.place, r.id, r.generation, r.epoch, r.history_seq, r.state, r.namespace, r.workflow, r.version
), began AS (
  INSERT INTO aiki.generations (run_id, generation, history_seq, epoch)
  SELECT id, generation, history_seq - (state = '{State.PAUSED}')::int, epoch FROM moved
), shown AS (
  INSERT INTO aiki.attempts (run_id, generation, key, attempt, error, epoch, journal_length, details, details_at_us)
  SELECT m.id, m.generation, a.key, a.attempt, a.error, a.epoch, 0, a.details, a.details_at_us
  FROM moved m JOIN aiki.attempts a
    ON a.run_id = m.id AND a.generation = m.generation - 1 AND a.key = '{DETAILS}' AND a.attempt = 1
), settled AS (
  UPDATE aiki.inbox i SET taken_generation = m.generation - 1, taken_seq = 0
  FROM moved m WHERE i.run_id = m.id AND i.taken_seq IS NULL AND i.kind IN ({quoted(ANSWERS)})
), known AS (
  INSERT INTO aiki.routes (namespace, workflow, version)
  SELECT DISTINCT m.namespace, m.workflow, m.version FROM moved m JOIN swap s ON s.run_id = m.id
  WHERE s.version IS NOT NULL ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
)
SELECT place, version FROM moved
"""


async def swap(connection: Connection, units: Sequence[Unit], places: Sequence[int]) -> dict[int, str]:
    """Let the runs of these units go on; return the version of each, by its place. Their claims have just ended.

    One that has no other input is tried again.
    """
    ends = [(place, unit.fence.run_id, unit.end) for place in places if (unit := units[place]).end is not None]
    parameters = [
        Ints([place for place, _, _ in ends]),
        Uuids([run_id for _, run_id, _ in ends]),
        Blobs([bytes(end.input) or None for _, _, end in ends]),
        Texts([end.version for _, _, end in ends]),
    ]
    return dict(await prepared.rows(connection, _SWAP, parameters))
