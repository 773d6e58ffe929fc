"""Runs that are put into Postgres as a table of cases says, and how they stand there after a statement."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import psycopg

from aiki.core.states import ENQUEUED, TERMINAL, Move, State
from aiki.rules.claiming import Queued
from aiki.rules.judging import outcome
from aiki.rules.recording import is_start
from aiki.rules.standing import Standing
from aiki.wire.messages import Attempt, End, Entry
from aikid.store import record
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine

_numbers = count(1)
_THEN = "2026-01-01T00:00:00Z"


def next_id() -> str:
    return str(uuid.UUID(int=next(_numbers)))


@dataclass
class Case:
    """A run as it is put into Postgres: how it stands, how its last claim has ended, and what stands beside it."""

    standing: Standing
    last: End | None = None
    journal: list[Entry] = field(default_factory=list)
    tries: list[Attempt] = field(default_factory=list)
    session: str | None = None
    queued: Queued = field(default_factory=lambda: Queued(next_id(), True, 0, 0, 0, 2))
    namespace: str = "default"
    workflow: str = WORKFLOW

    def __post_init__(self) -> None:
        left = self.last is not None and self.last.move is Move.CONTINUE
        self.standing = replace(self.standing, length=0 if left else len(self.journal), generation=int(left))
        if self.last is not None:
            self.standing = replace(self.standing, outcome=outcome(self.last), due_at=self.last.due_at)

    @property
    def id(self) -> str:
        return self.queued.id


_ROW = """
INSERT INTO aiki.runs (id, namespace, workflow, version, state, priority, epoch, history_seq, crash_length, crash_count,
  created_at, started_at, finished_at, due_at, session_id, claim_id, origin_id, input, output, error, wanted, news_seq,
  unread, waits, generation)
VALUES (%s, %s, %s, %s, %s, %s, %s, 2, %s, %s, 'epoch'::timestamptz + %s * interval '1 second', %s, %s,
  'epoch'::timestamptz + %s * interval '1 microsecond', %s, %s, gen_random_uuid(), %s, %s, %s, %s, %s, %s, %s, %s)
"""
_STORY = "INSERT INTO aiki.run_history (run_id, seq, move, reason) VALUES (%s, %s, %s, %s)"
_JOURNAL = "INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value, asked) VALUES (%s, %s, %s, %s, %s, %s, %s)"
_TRY = """
INSERT INTO aiki.attempts (run_id, key, attempt, next_at_us, error, details, details_at_us, epoch, journal_length)
VALUES (%s, %s, %s, %s, %s, %s, %s, 1, 0)
"""
_FOUND = """
SELECT id::text, namespace, crash_count, crash_length, (extract(epoch FROM due_at) * 1000000)::bigint,
  finished_at IS NOT NULL, session_id IS NOT NULL, why, history_seq, wanted, news_seq, unread,
  coalesce(waits, '{}')
FROM aiki.runs
"""


async def put(engine: Engine, cases: Iterable[Case]) -> None:
    """Store the runs: enqueued, claimed, and as they stand now."""
    rows: dict[str, list[tuple[object, ...]]] = {
        _ROW: [_row(case) for case in cases],
        _STORY: [line for case in cases for line in _story(case)],
        _JOURNAL: [
            (case.id, seq, one.ok, one.at, one.key, bytes(one.value), one.asked)
            for case in cases
            for seq, one in enumerate(case.journal, 1)
        ],
        _TRY: [
            (
                *(case.id, one.key, one.attempt, one.next_at, None if is_start(one) else bytes(one.error)),
                *(None if one.details_at is None else bytes(one.details), one.details_at),
            )
            for case in cases
            for one in case.tries
        ],
    }
    async with await psycopg.AsyncConnection.connect(engine.database) as connection, connection.cursor() as cursor:
        for statement, parameters in rows.items():
            await cursor.executemany(statement.encode(), parameters)


def _row(case: Case) -> tuple[object, ...]:
    standing, queued, last = case.standing, case.queued, case.last or End(Move.RELEASE)
    return (
        *(case.id, case.namespace, case.workflow, VERSION, standing.state, queued.priority, standing.epoch),
        *(standing.crash_length, standing.crash_count, queued.created_at, _THEN if queued.has_started else None),
        *(_THEN if standing.state in TERMINAL else None, standing.due_at, case.session, standing.claim_id),
        *(bytes(last.input) or b"1" * queued.bytes, bytes(last.output) or None, bytes(last.error) or None),
        *(standing.wanted, standing.news, standing.unread, sorted(standing.waits) or None, standing.generation),
    )


def _story(case: Case) -> Iterator[tuple[object, ...]]:
    yield case.id, 0, ENQUEUED, None
    yield case.id, 1, Move.CLAIM, None
    if case.last is not None:
        yield case.id, 2, case.last.move, case.last.why


@dataclass(frozen=True)
class Found:
    """What Postgres holds of a run; `moves` counts those that it saw since it was put there."""

    standing: Standing
    why: str | None
    moves: int


async def found(engine: Engine, cases: Sequence[Case]) -> list[Found]:
    """Return how the runs of the cases stand, as the engine itself reads it, and what else must go with that."""
    rows = {row[0]: row[1:] for row in await engine.execute(_FOUND)}
    spaces = [rows[case.id][0] for case in cases]
    ids = [case.id for case in cases]
    known = await engine.pool.run(lambda c: record.standings(c, spaces, ids))
    everything = []
    for case, namespace in zip(cases, spaces, strict=True):
        _, crash_count, crash_length, due_at, is_finished, is_held, why, moves, wanted, *inbox = rows[case.id]
        news, unread, waits = inbox
        standing = known[namespace, case.id]
        assert is_finished == (standing.state in TERMINAL)
        assert not is_held or standing.state is State.RUNNING
        if standing.claim_id is None:  # nobody can repeat its end any more
            standing = replace(standing, outcome=None)
        standing = replace(
            standing, crash_count=crash_count, crash_length=crash_length, due_at=due_at, wanted=wanted, news=news
        )
        standing = replace(standing, unread=unread, waits=frozenset(waits))
        everything.append(Found(standing, why, moves - 2))
    return everything
