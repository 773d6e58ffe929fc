"""What was done in each minute: each daemon inserts rows of its own, and whoever reads adds up. No row is ever changed.

So nobody waits for anybody. A daemon writes what it has seen of its own commits: of one that is killed the last seconds
are lost here, and here alone. The rows say how much is done, never what has become of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from aiki.core.states import TERMINAL, State
from aiki.rules.histograms import bucket
from aiki.wire.limits import RATE_MINUTES
from aikid.store import prepared
from aikid.store.arrays import Array, Ints, Texts, Uuids
from aikid.store.pool import Connection, Pool
from aikid.store.sql import MICROSECONDS
from aikid.store.summary import RouteKey

MINUTE: Final = 60_000_000
"""In microseconds."""


@dataclass(slots=True)  # not frozen: what is counted is added to it
class Cell:
    """What was done of a route in a minute, so many microseconds since 1970 by MINUTE."""

    namespace: str
    workflow: str
    version: str
    minute: int
    enqueued: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    """How many of those that have ended took how long (`rules.histograms`)."""
    failed_id: str | None = None
    """The one that has failed last."""

    def end(self, run_id: str, state: State, took: int) -> None:
        """Count a run that has ended after so many microseconds."""
        match state:
            case State.COMPLETED:
                self.completed += 1
            case State.FAILED:
                self.failed += 1
                self.failed_id = run_id
            case _:
                assert state in TERMINAL, "what is counted has ended"
                self.cancelled += 1
        number = bucket(took)
        self.buckets[number] = self.buckets.get(number, 0) + 1


# The primary key, which a repeat of the same part meets. Nobody else has this writer's rows.
_WRITE: Final = f"""
INSERT INTO aiki.minutes (namespace, workflow, minute, version, writer, part, enqueued, completed, failed, cancelled,
  buckets, bucket_runs, failed_id)
SELECT t.namespace, t.workflow, 'epoch'::timestamptz + t.minute * {MINUTE}::bigint * interval '1 microsecond',
  t.version, (%b)[1], (%b)[1], t.enqueued, t.completed, t.failed, t.cancelled, t.buckets::smallint[],
  t.bucket_runs::integer[], t.failed_id::uuid
FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS t(namespace, workflow, minute, version, enqueued, completed,
  failed, cancelled, buckets, bucket_runs, failed_id)
ON CONFLICT DO NOTHING
"""


async def write(connection: Connection, writer: str, part: int, cells: Sequence[Cell]) -> None:
    """Insert what a daemon has counted, a part of what it counts; to repeat it changes nothing."""
    parameters: list[Array] = [
        Uuids([writer]),
        Ints([part]),
        Texts([cell.namespace for cell in cells]),
        Texts([cell.workflow for cell in cells]),
        Ints([cell.minute for cell in cells]),
        Texts([cell.version for cell in cells]),
        Ints([cell.enqueued for cell in cells]),
        Ints([cell.completed for cell in cells]),
        Ints([cell.failed for cell in cells]),
        Ints([cell.cancelled for cell in cells]),
        Texts([_array(cell.buckets) for cell in cells]),
        Texts([_array(cell.buckets.values()) for cell in cells]),
        Texts([cell.failed_id for cell in cells]),
    ]
    await prepared.rows(connection, _WRITE, parameters)


def _array(numbers: Iterable[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


# `minutes_pkey`, of each workflow the last minutes: what was written lately is of these, a row for each part of each
# daemon. Rows of a clock that was set back are passed over until it is there again.
_PARTS: Final = f"""
m.namespace = :namespace AND m.workflow = t.workflow
AND m.minute BETWEEN aiki.now() - interval '{2 * RATE_MINUTES} minutes' AND aiki.now()
AND m.written_at BETWEEN aiki.now() - interval '{RATE_MINUTES} minutes' AND aiki.now()
"""
_RATES: Final = f"""
WITH part AS MATERIALIZED (
  SELECT t.workflow, m.enqueued, m.completed, m.failed, m.cancelled, m.buckets, m.bucket_runs
  FROM unnest(CAST(:workflows AS text[])) AS t(workflow) JOIN aiki.minutes m ON {_PARTS}
), bucket AS (
  SELECT p.workflow, b.number, sum(b.runs)::bigint AS runs
  FROM part p CROSS JOIN LATERAL unnest(p.buckets, p.bucket_runs) AS b(number, runs) GROUP BY p.workflow, b.number
)
SELECT p.workflow, sum(p.enqueued)::bigint, sum(p.completed)::bigint, sum(p.failed)::bigint, sum(p.cancelled)::bigint,
  (SELECT array_agg(b.number ORDER BY b.number) FROM bucket b WHERE b.workflow = p.workflow),
  (SELECT array_agg(b.runs ORDER BY b.number) FROM bucket b WHERE b.workflow = p.workflow)
FROM part p GROUP BY p.workflow ORDER BY p.workflow
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """What the last RATE_MINUTES have brought of a workflow."""

    workflow: str
    enqueued: int
    completed: int
    failed: int
    cancelled: int
    buckets: dict[int, int]


async def rates(pool: Pool, namespace: str, workflows: Sequence[str]) -> list[Rate]:
    """Return what the last minutes have brought of these workflows, as far as daemons have written it."""
    rows = await pool.read(sa.text(_RATES).bindparams(namespace=namespace, workflows=list(workflows)))
    return [
        Rate(workflow, enqueued, completed, failed, cancelled, dict(zip(buckets or (), runs or (), strict=True)))
        for workflow, enqueued, completed, failed, cancelled, buckets, runs in rows
    ]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Runs of a route that need a look, and the newest of them: since when, in microseconds, and why.

    That is what the run says of itself, or the JSON of its error.
    """

    workflow: str
    version: str
    state: State
    runs: int
    run_id: str
    at: int
    why: str | None
    error: bytes | None


# `minutes_pkey` as above; the newest part whose run is there still, by the run's primary key.
_FAILED: Final = f"""
SELECT t.workflow, t.version, (SELECT sum(m.failed)::bigint FROM aiki.minutes m
    WHERE {_PARTS} AND m.version = t.version), r.id::text, {MICROSECONDS.format("r.finished_at")}, r.error
FROM unnest(CAST(:workflows AS text[]), CAST(:versions AS text[])) AS t(workflow, version) CROSS JOIN LATERAL (
  SELECT r.id, r.finished_at, r.error FROM aiki.minutes m JOIN aiki.runs r ON r.id = m.failed_id
  WHERE {_PARTS} AND m.version = t.version AND m.failed > 0 AND r.state = '{State.FAILED}'
  ORDER BY m.minute DESC, m.written_at DESC LIMIT 1
) AS r ORDER BY t.workflow, t.version
"""
# `runs_resting`, the last of each route by its creation; the line that says when it was blocked by its primary key.
_BLOCKED: Final = f"""
SELECT t.workflow, t.version, b.id::text, {MICROSECONDS.format("coalesce(h.at, b.last_claimed_at, b.created_at)")},
  b.why
FROM unnest(CAST(:workflows AS text[]), CAST(:versions AS text[])) AS t(workflow, version) CROSS JOIN LATERAL (
  SELECT x.id, x.why, x.history_seq, x.last_claimed_at, x.created_at FROM aiki.runs x
  WHERE x.namespace = :namespace AND x.workflow = t.workflow AND x.version = t.version AND x.state = '{State.BLOCKED}'
  ORDER BY x.created_at DESC LIMIT 1
) AS b LEFT JOIN aiki.run_history h ON h.run_id = b.id AND h.seq = b.history_seq
ORDER BY t.workflow, t.version
"""


async def failed(pool: Pool, namespace: str, of: Sequence[RouteKey]) -> list[Trouble]:
    """Return of which of these routes runs have failed in the last minutes, how many, and the last of them."""
    rows = await pool.read(sa.text(_FAILED).bindparams(**_of(namespace, of)))
    return [
        Trouble(workflow, version, State.FAILED, runs, run_id, at, None, error)
        for workflow, version, runs, run_id, at, error in rows
    ]


async def blocked(pool: Pool, namespace: str, of: dict[RouteKey, int]) -> list[Trouble]:
    """Return of these routes, with how many are blocked, the newest run that is."""
    rows = await pool.read(sa.text(_BLOCKED).bindparams(**_of(namespace, list(of))))
    return [
        Trouble(workflow, version, State.BLOCKED, of[workflow, version], run_id, at, why, None)
        for workflow, version, run_id, at, why in rows
    ]


def _of(namespace: str, of: Sequence[RouteKey]) -> dict[str, Any]:
    workflows, versions = ([route[place] for route in of] for place in range(2))
    return {"namespace": namespace, "workflows": workflows, "versions": versions}
