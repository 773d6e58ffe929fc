"""Own how tests ask an engine in memory, as a client and a worker would."""

from __future__ import annotations

import uuid

from msgspec import Raw

from aiki.core.ids import uuid7
from aiki.testing.engine import Engine
from aiki.wire.messages import (
    Claim,
    Claimed,
    Enqueue,
    Entry,
    NewRun,
    OpenSession,
    Record,
    Recorded,
    Route,
    RunOptions,
    RunStatus,
    Status,
    Unit,
)

NOW = 1_700_000_000_000_000
ROUTE = ("greet", "1")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def new_id(number: int) -> str:
    return str(uuid7(milliseconds=NOW // 1_000, random_bits=number))


def enqueued(engine: Engine, number: int = 1, **options) -> str:
    digest = "0" * 32 if "key" in options else None
    run = NewRun(new_id(number), *ROUTE, Raw(b'{"name":"Ada"}'), RunOptions(**options), digest)
    (answer,) = engine.answer(Enqueue([run])).runs
    assert answer.error is None
    return answer.id


def session(engine: Engine) -> str:
    id = str(uuid.uuid4())
    assert engine.answer(OpenSession(id, "worker-1", [Route(*ROUTE)])).alive
    return id


def claimed(engine: Engine, session: str, limit: int = 1) -> list[Claimed]:
    return engine.answer(Claim(session, uuid.uuid4().hex, [ROUTE], limit)).runs


def recorded(engine: Engine, unit: Unit) -> Recorded:
    (answer,) = engine.answer(Record([unit])).units
    return answer


def status(engine: Engine, run_id: str) -> RunStatus:
    (run,) = engine.answer(Status([run_id])).runs
    return run


def entry(key: str = "task:hello:0123:1") -> Entry:
    return Entry(key, True, Raw(b'"hello"'), NOW)
