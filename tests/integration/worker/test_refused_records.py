"""A worker gives up what it has recorded only on a word about the run: nothing else makes a body run twice (P2, P3)."""

from __future__ import annotations

from collections import Counter
from typing import Any, LiteralString

import psycopg
import pytest

from aiki import Client, Handle, Worker, WorkflowRun, task, workflow
from aiki.core.errors import AikiError
from aiki.nats import Connection, Message
from aiki.wire import codec, subjects
from aiki.wire.messages import RecordReply
from tests.servers import Aikid, Aikids
from tests.waiting import ENOUGH, patient, wait_until

pytestmark = pytest.mark.anyio

bodies: Counter[tuple[str, int]] = Counter()


@task
async def effect(name: str, n: int) -> int:
    bodies[name, n] += 1
    return n


@workflow
async def effects(run: WorkflowRun, name: str) -> int:
    return sum([await effect.run(run, name, n) for n in range(5)])


FAILURES: dict[str, tuple[LiteralString, LiteralString]] = {
    # A type that no statement of ours fits is as near to a bug of the daemon as a database comes.
    "a bug": (
        "ALTER TABLE aiki.journal ALTER COLUMN turns_taken TYPE boolean USING turns_taken > 0",
        "ALTER TABLE aiki.journal ALTER COLUMN turns_taken TYPE integer USING turns_taken::integer",
    ),
    "a table that is away": (
        "ALTER TABLE aiki.journal RENAME TO moved",
        "ALTER TABLE aiki.moved RENAME TO journal",
    ),
    "a plan gone stale": (
        "ALTER TABLE aiki.runs ALTER COLUMN workflow TYPE varchar(64), ALTER COLUMN version TYPE varchar(64)",
        "ALTER TABLE aiki.runs ALTER COLUMN workflow TYPE text, ALTER COLUMN version TYPE text",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_was_recorded_outlives_a_failure_of_the_daemon(
    start_aikid: Aikids, database: str, failure: str
) -> None:
    bodies.clear()
    begin, end = FAILURES[failure]
    aikid = start_aikid()
    async with (
        Client.connect(aikid.nats_url) as client,
        Worker(client, workflows=[effects], max_concurrent_runs=5),
    ):
        assert await (await effects.enqueue(client, "before")).result(timeout=ENOUGH) == 10
        with psycopg.connect(database, autocommit=True) as connection:
            before = failures(connection)
            connection.execute(begin)
            handles = await client.enqueue_many(effects.bind(f"run-{n}") for n in range(5))
            await wait_until(lambda: bodies.total() > 5 and failures(connection) > before, what="a failed statement")
            connection.execute(end)
        assert [await handle.result(timeout=ENOUGH) for handle in handles] == [10] * 5
    assert (bodies.total(), set(bodies.values())) == (30, {1})


def failures(connection: psycopg.Connection[Any]) -> int:
    """Return how many statements have failed in this database."""
    row = connection.execute("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    "answer",
    [b"{", codec.encode_reply(RecordReply(1, [])), codec.encode_error(AikiError("aikid has a bug"))],
    ids=["unreadable", "too short", "a bug"],
)
async def test_what_was_recorded_outlives_a_daemon_that_talks_nonsense(
    aikid: Aikid, client: Client, namespace: str, answer: bytes
) -> None:
    """One of two daemons; a record goes to either."""
    bodies.clear()
    asked = 0
    babbler = Connection([aikid.nats_url], name="babbler")
    await babbler.connect(seconds=patient(5))

    def babble(message: Message) -> None:
        nonlocal asked
        asked += 1
        babbler.send(message.reply, answer)

    babbler.subscribe(subjects.api(namespace, "record"), babble, queue=subjects.QUEUE_GROUP)
    try:
        async with Worker(client, workflows=[effects], max_concurrent_runs=5):
            handles: list[Handle[int]] = []
            while not asked:
                # Whom a record goes to is the server's choice.
                first = len(handles)
                handles += await client.enqueue_many(effects.bind(f"run-{first + n}") for n in range(4))
                assert [await handle.result(timeout=ENOUGH) for handle in handles[first:]] == [10] * 4
    finally:
        await babbler.close()
    assert (bodies.total(), set(bodies.values())) == (5 * len(handles), {1})
