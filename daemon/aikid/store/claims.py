"""Take queued runs for a worker session, and give back what a reply cannot carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiki.core.states import Move, State, target
from aiki.rules.claiming import RUN_BYTES
from aiki.rules.crashing import SUSPECT
from aiki.rules.judging import STANDSTILLS
from aiki.wire.messages import Claim
from aikid.store.arrays import Texts, Uuids
from aikid.store.pool import Connection
from aikid.store.sql import MICROSECONDS, PAUSABLE

_ORDER: Final = "r.priority DESC, (r.started_at IS NULL), r.created_at"
_LEFT: Final = "%(limit)s - (SELECT count(*) FROM suspect)"
# One route: rows are locked as the index `runs_queued` yields them, until enough are.
_OF_ONE: Final = f"""
  FROM aiki.runs r WHERE r.namespace = %(namespace)s
    AND r.workflow = (%(workflows)b)[1] AND r.version = (%(versions)b)[1]
    AND r.state = '{State.QUEUED}' AND r.crash_count < {SUSPECT}
"""
_PICK_ONE: Final = f"""
picked AS MATERIALIZED (
  SELECT r.id, octet_length(r.input) AS bytes {_OF_ONE} AND EXISTS (SELECT FROM live)
  ORDER BY {_ORDER} LIMIT {_LEFT} FOR NO KEY UPDATE SKIP LOCKED
)
"""
# Several: the best of each are looked at without a lock, more than needed since rivals may take some, and only what
# is wanted is locked, and compared as it is by then: it may have gone to another version. (A lock inside the lateral
# would lock routes x limit rows for one claim.) They come in order, so that no more of them are looked up again than
# are locked.
_PICK_MANY: Final = f"""
candidate AS MATERIALIZED (
  SELECT best.* FROM unnest(%(workflows)b, %(versions)b) AS t(workflow, version)
  CROSS JOIN LATERAL (
    SELECT r.id, r.state, r.version, (r.started_at IS NULL) AS is_new, r.priority, r.created_at FROM aiki.runs r
    WHERE r.namespace = %(namespace)s AND r.workflow = t.workflow AND r.version = t.version
      AND r.state = '{State.QUEUED}' AND r.crash_count < {SUSPECT}
    ORDER BY {_ORDER} LIMIT 2 * %(limit)s + 16
  ) AS best
  ORDER BY best.priority DESC, best.is_new, best.created_at LIMIT 4 * %(limit)s + 32
), picked AS MATERIALIZED (
  SELECT r.id, octet_length(r.input) AS bytes
  FROM candidate c JOIN aiki.runs r ON r.id = c.id AND r.state = c.state AND r.version = c.version
  WHERE EXISTS (SELECT FROM live)
  ORDER BY c.priority DESC, c.is_new, c.created_at LIMIT {_LEFT} FOR NO KEY UPDATE OF r SKIP LOCKED
)
"""
# The session is locked first, FOR KEY SHARE: renewals pass, the rescuer's FOR UPDATE does not, so a session that is
# being buried gets no runs. Runs are locked with SKIP LOCKED and wait for nobody. A run that has cost two leases comes
# alone: at most one such suspect per session.
_CLAIM: Final = f"""
WITH live AS MATERIALIZED (
  SELECT s.id, s.worker FROM aiki.sessions s
  WHERE s.id = %(session)s AND s.namespace = %(namespace)s AND s.closed_at IS NULL AND s.expires_at > aiki.now()
  FOR KEY SHARE
), suspect AS MATERIALIZED (
  SELECT r.id, octet_length(r.input) AS bytes FROM aiki.runs r
  WHERE EXISTS (SELECT FROM live) AND r.namespace = %(namespace)s AND r.state = '{State.QUEUED}'
    AND r.crash_count >= {SUSPECT} AND (r.workflow, r.version) IN (SELECT * FROM unnest(%(workflows)b, %(versions)b))
    AND NOT EXISTS (SELECT FROM aiki.runs q
      WHERE q.session_id = %(session)s AND q.state = '{State.RUNNING}' AND q.crash_count >= {SUSPECT})
  LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
), {{pick}}, wanted AS MATERIALIZED (
  SELECT id, sum(bytes + {RUN_BYTES}) OVER (ROWS UNBOUNDED PRECEDING) AS total, row_number() OVER () AS place
  FROM (SELECT id, bytes FROM suspect UNION ALL SELECT id, bytes FROM picked) AS taken
), claimed AS (
  UPDATE aiki.runs r SET state = '{State.RUNNING}', epoch = r.epoch + 1, history_seq = r.history_seq + 1,
    claim_id = %(claim_id)s, session_id = %(session)s,
    last_claimed_at = aiki.now(), started_at = coalesce(r.started_at, aiki.now()), due_at = NULL, why = NULL,
    waits = NULL, began_at = CASE WHEN r.generation > 0 THEN coalesce(r.began_at, aiki.now()) END
  FROM wanted w WHERE r.id = w.id AND (w.total <= %(limit_bytes)s OR w.place = 1)
  RETURNING w.place, r.id, r.epoch, r.history_seq, r.origin_id, r.workflow, r.version, r.input, r.key, r.labels,
    coalesce(r.began_at, r.started_at) AS started_at, r.crash_count, r.generation, r.attempt, r.news_seq,
    r.parent_id, coalesce(r.depth, 0) AS depth, r.priority, r.retry, r.fired,
    CASE WHEN r.generation > 0 THEN r.started_at END AS first_at
), told AS (
  INSERT INTO aiki.run_history (run_id, seq, move, actor)
  SELECT id, history_seq, '{Move.CLAIM}', (SELECT worker FROM live) FROM claimed
)
SELECT EXISTS (SELECT FROM live), {MICROSECONDS.format("aiki.now()")},
  (SELECT count(*) FROM wanted) > (SELECT count(*) FROM claimed)
    OR CASE WHEN (SELECT count(*) FROM wanted) >= %(limit)s THEN EXISTS (SELECT {{others}} OFFSET {_LEFT}) END IS TRUE,
  c.id::text, c.epoch, c.origin_id::text, c.workflow, c.version, c.input,
  {MICROSECONDS.format("c.started_at")}, c.key, c.labels::text, c.crash_count, c.generation, c.attempt, c.news_seq,
  c.parent_id::text, c.depth, c.priority, c.retry, c.fired, {MICROSECONDS.format("c.first_at")}
FROM (SELECT) AS always LEFT JOIN claimed c ON true ORDER BY c.place
"""
_CLAIM_ONE: Final = _CLAIM.format(pick=_PICK_ONE, others=_OF_ONE)
_CLAIM_MANY: Final = _CLAIM.format(pick=_PICK_MANY, others="FROM candidate")


@dataclass(slots=True)  # not frozen: one is made per run, and that would cost four times as much
class ClaimedRow:
    """A run that was just claimed; `labels` is JSON."""

    id: str
    epoch: int
    origin_id: str
    workflow: str
    version: str
    input: bytes
    started_at: int
    key: str | None
    labels: str | None
    crash_count: int
    generation: int
    attempt: int
    news: int
    parent_id: str | None
    depth: int
    priority: int
    retry: bytes | None
    fired: bytes | None
    first_at: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim took. `alive` is false if the session has ended; `more` says that the routes have others for it."""

    alive: bool
    now: int
    more: bool
    runs: list[ClaimedRow]


async def claim(connection: Connection, namespace: str, request: Claim, *, limit_bytes: int) -> Taken:
    """Claim the best queued runs for a live session; inputs beyond `limit_bytes` stay queued (one always fits).

    A route that is named twice is looked at once.
    """
    routes = dict.fromkeys(request.routes)
    parameters = {
        "namespace": namespace,
        "session": request.session,
        "claim_id": request.claim_id,
        "workflows": Texts([workflow for workflow, _ in routes]),
        "versions": Texts([version for _, version in routes]),
        "limit": request.limit,
        "limit_bytes": limit_bytes,
    }
    statement = _CLAIM_ONE if len(routes) == 1 else _CLAIM_MANY
    cursor = await connection.execute(statement, parameters, prepare=True, binary=True)
    rows = await cursor.fetchall()
    alive, now, more = rows[0][:3]
    return Taken(alive, now, more, [ClaimedRow(*row[3:]) for row in rows if row[3] is not None])


def _giving_up(event: Move, *, also: str = "") -> str:
    return f"""
WITH given_up AS (
  UPDATE aiki.runs r SET state = CASE WHEN held.is_paused THEN '{target(Move.PAUSE)}' ELSE '{target(event)}' END,
    why = CASE WHEN held.is_paused THEN r.why ELSE %(why)s END, session_id = NULL, wanted = NULL,
    history_seq = r.history_seq + 1 + held.is_paused::int,
    crash_count = {"r.crash_count" if event in STANDSTILLS else 0}{also}
  FROM (SELECT q.id, q.wanted IS NOT NULL AND '{target(event)}' IN ({PAUSABLE}) AS is_paused FROM aiki.runs q
    WHERE q.id = ANY(%(run_ids)b) AND q.namespace = %(namespace)s AND q.claim_id = %(claim_id)s
      AND q.state = '{State.RUNNING}'
    ORDER BY q.id FOR NO KEY UPDATE) AS held
  WHERE r.id = held.id RETURNING r.id, r.history_seq, held.is_paused
)
INSERT INTO aiki.run_history (run_id, seq, move, reason)
SELECT id, history_seq - is_paused::int, '{event}', %(reason)s FROM given_up
UNION ALL SELECT id, history_seq, '{Move.PAUSE}', NULL FROM given_up WHERE is_paused
"""


_RELEASE: Final = _giving_up(Move.RELEASE)
_BLOCK: Final = _giving_up(Move.OVERSIZE)
# Under a first claim of which nobody has ever heard: it has not begun.
_UNBEGUN: Final = """,
    epoch = CASE WHEN r.epoch = 1 THEN 0 ELSE r.epoch END, claim_id = NULL,
    started_at = CASE WHEN r.epoch > 1 OR r.attempt > 1 THEN r.started_at END,
    last_claimed_at = CASE WHEN r.epoch > 1 THEN r.last_claimed_at END"""
_TAKE_BACK: Final = _giving_up(Move.RELEASE, also=_UNBEGUN)


async def release(connection: Connection, namespace: str, run_ids: Sequence[str], claim_id: str) -> None:
    """Queue runs of a claim again that did not come to its worker. Primary keys, locked in id order."""
    of = {"namespace": namespace, "run_ids": Uuids(run_ids), "claim_id": claim_id}
    parameters = {**of, "why": None, "reason": "the claim's reply was full"}
    await connection.execute(_RELEASE, parameters, prepare=True, binary=True)


async def take_back(connection: Connection, namespace: str, run_ids: Sequence[str], claim_id: str) -> None:
    """Queue runs, as if they had not been claimed, that were handed over and reached nobody. Primary keys."""
    of = {"namespace": namespace, "run_ids": Uuids(run_ids), "claim_id": claim_id}
    parameters = {**of, "why": None, "reason": "its worker did not listen"}
    await connection.execute(_TAKE_BACK, parameters, prepare=True, binary=True)


async def block(connection: Connection, namespace: str, run_id: str, claim_id: str, *, why: str) -> None:
    """Block a claimed run that no reply can carry. Primary key."""
    of = {"namespace": namespace, "run_ids": Uuids([run_id]), "claim_id": claim_id}
    parameters = {**of, "why": why, "reason": why}
    await connection.execute(_BLOCK, parameters, prepare=True, binary=True)
