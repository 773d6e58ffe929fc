"""Read what has reached runs: what they have not taken yet, and again the ends of children that they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import TERMINAL
from aiki.rules.arriving import CHILD
from aiki.wire.codec import decode, encode
from aiki.wire.limits import CLAIMED_ARRIVALS
from aiki.wire.messages import Arrival, ChildEnd
from aikid.store.arrays import Uuids
from aikid.store.pool import Connection
from aikid.store.sql import quoted


@dataclass(slots=True)
class Unread:
    """What a run has not taken yet beyond some number: `count` arrivals, of which the first are here.

    All is of one snapshot, and a run's number is raised with the arrival that has it: there is none up to `last` that
    was not seen.
    """

    last: int
    count: int
    wanted: str | None
    arrivals: list[Arrival] = field(default_factory=list)

    def news(self, after: int = 0) -> int:
        """Return the number up to which all is here that is unread beyond `after`."""
        if self.count == len(self.arrivals):
            return self.last
        return self.arrivals[-1].number if self.arrivals else after


_NOT_TAKEN: Final = "i.taken_seq IS NULL"
_ENDS_TAKEN: Final = f"i.kind = '{CHILD}' AND i.taken_seq IS NOT NULL AND i.taken_generation = r.generation"
# `inbox_unread`, or the primary key, from the left, no further than what is returned; the count reads no payload, once
# for each run. What a child has come to stands with it alone, and is looked up by its primary key.
_READ: Final = f"""
WITH run AS MATERIALIZED (
  SELECT r.id, r.news_seq, r.wanted, r.generation,
    (SELECT count(*) FROM aiki.inbox i WHERE i.run_id = r.id AND {{which}} AND i.number > %(after)s) AS count
  FROM aiki.runs r
  WHERE r.id = ANY(%(run_ids)b) AND r.namespace = %(namespace)s AND (%(ended)s OR r.state NOT IN ({quoted(TERMINAL)}))
)
SELECT r.id::text, r.news_seq, r.wanted, r.count, i.number, i.at_us, i.kind, i.name, i.value, i.send_id::text,
  i.output, i.error
FROM run r LEFT JOIN LATERAL (
  SELECT n.*, c.output, c.error, row_number() OVER (ORDER BY n.number) AS place,
    sum(octet_length(n.value) + coalesce(octet_length(c.output), 0) + coalesce(octet_length(c.error), 0)
      + 6 * length(n.name) + 160) OVER (ORDER BY n.number) AS bytes
  FROM (
    SELECT i.number, i.at_us, i.kind, i.name, i.value, i.send_id FROM aiki.inbox i
    WHERE i.run_id = r.id AND {{which}} AND i.number > %(after)s ORDER BY i.number LIMIT %(most)s
  ) AS n
  LEFT JOIN aiki.runs c ON c.id = CASE n.kind
    WHEN '{CHILD}' THEN (convert_from(n.value, 'UTF8')::json ->> 'run_id')::uuid END
) AS i ON i.bytes <= %(limit_bytes)s OR (%(is_forced)s AND i.place = 1)
ORDER BY i.number
"""
_UNREAD, _ENDS = (_READ.format(which=which) for which in (_NOT_TAKEN, _ENDS_TAKEN))


async def unread(
    connection: Connection,
    namespace: str,
    run_ids: Sequence[str],
    *,
    limit_bytes: int,
    after: int = 0,
    most: int = CLAIMED_ARRIVALS,
    is_forced: bool = False,
    ends: bool = False,
    ended: bool = False,
) -> dict[str, Unread]:
    """Return what is unread of those of these runs that have not ended: of each `most` at most, and as many as fit.

    With `ended` also of those that have. With `is_forced` it is one at least, if there is one; with `ends` it is the
    ends of children that they have taken.
    """
    parameters = {
        "namespace": namespace,
        "run_ids": Uuids(run_ids),
        "after": after,
        "most": most,
        "limit_bytes": limit_bytes,
        "is_forced": is_forced,
        "ended": ended,
    }
    found: dict[str, Unread] = {}
    cursor = await connection.execute(_ENDS if ends else _UNREAD, parameters, prepare=True, binary=True)
    for run_id, last, wanted, count, *arrival in await cursor.fetchall():
        one = found.setdefault(run_id, Unread(last, count, wanted))
        if arrival[0] is not None:
            number, at, kind, name, value, send_id, output, error = arrival
            raw = _ended(value, output, error) if kind == CHILD else Raw(value)
            one.arrivals.append(Arrival(number, at, kind, name, raw, send_id or ""))
    return found


def _ended(value: bytes, output: bytes | None, error: bytes | None) -> Raw:
    """Return the end of a child with what it has come to."""
    known = {name: Raw(raw) for name, raw in (("output", output), ("error", error)) if raw is not None}
    return Raw(encode(replace(decode(value, ChildEnd), **known)))
