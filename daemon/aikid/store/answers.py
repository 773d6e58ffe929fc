"""Bring runs the outcomes of what they did to their families, beside the statement that writes their units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from aiki.rules.arriving import OP
from aiki.rules.checking import answer_id
from aiki.wire.codec import encode
from aikid.store import prepared
from aikid.store.arrays import Blobs, Uuids
from aikid.store.inbox import REACHING, TOLD, Reached, coming
from aikid.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an op of a run."""

    run_id: str
    op_id: str
    outcome: Struct


# `inbox`'s unique index.
_ANSWERED: Final = """
SELECT t.op_id::text FROM unnest(%b, %b, %b) AS t(origin_id, op_id, answer_id)
WHERE (SELECT i.number FROM aiki.inbox i WHERE i.origin_id = t.origin_id AND i.send_id = t.answer_id) IS NOT NULL
"""


async def answered(connection: Connection, ops: Sequence[tuple[str, str]]) -> set[str]:
    """Return the ids of those ops, each behind the origin of its run, whose outcomes have been brought."""
    parameters = [
        Uuids([origin_id for origin_id, _ in ops]),
        Uuids([op_id for _, op_id in ops]),
        Uuids([answer_id(op_id) for _, op_id in ops]),
    ]
    return {op_id for (op_id,) in await prepared.rows(connection, _ANSWERED, parameters)}


# The runs are locked already, and held by workers.
_BRING: Final = f"""
WITH answer AS MATERIALIZED (
  SELECT * FROM unnest(%b, %b, %b, %b) WITH ORDINALITY AS a(run_id, op_id, answer_id, value, n)
), locked AS MATERIALIZED (
  SELECT r.id, r.state, r.origin_id, r.news_seq, r.news_at, r.waits, r.wake_news FROM aiki.runs r
  WHERE r.id IN (SELECT a.run_id FROM answer a) ORDER BY r.id FOR NO KEY UPDATE
), {{coming}}, {REACHING}
SELECT NULL, NULL::bigint, NULL, NULL, NULL, NULL WHERE false {TOLD.format("")}
""".format(
    coming=coming(f"""
  SELECT l.id, a.n, 1, '{OP}', a.op_id::text, a.answer_id, NULL, NULL, a.value, l.origin_id, '{OP}'
  FROM answer a FULL JOIN locked l ON l.id = a.run_id WHERE coalesce(a.n, 0) > 0 AND coalesce(l.state, '') <> ''""")
)


async def bring(connection: Connection, answers: Sequence[Answer]) -> Reached:
    """Bring runs what became of their ops; return whom that reached."""
    parameters = [
        Uuids([one.run_id for one in answers]),
        Uuids([one.op_id for one in answers]),
        Uuids([answer_id(one.op_id) for one in answers]),
        Blobs([encode(one.outcome) for one in answers]),
    ]
    reached = Reached()
    for row in await prepared.rows(connection, _BRING, parameters):
        reached.add(row)
    return reached
