"""The slot that a run is of stays with it: told to its worker, over retries and generations, and to who looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest

from aiki.core.errors import UsageError
from aiki.wire.messages import Fired, ListReply, ListRuns
from aikid.engine import reads
from aikid.store import enqueue, prepared
from aikid.store.arrays import Array
from aikid.store.pool import Connection
from tests.integration.daemon.engine import Engine, new_run, onward, unit
from tests.integration.daemon.retrying import failed, retried

pytestmark = pytest.mark.anyio
FIRED = Fired(schedule="nightly", slot=1_750_000_000_000_000, last_completed=1_740_000_000_000_000)


async def fired_run(engine: Engine) -> str:
    """Store a run as a firing does: no client may say of which slot its run is."""
    run = new_run(fired=FIRED)
    await engine.pool.run(lambda c: enqueue.insert(c, [(engine.namespace, run), (engine.namespace, new_run())]))
    return run.id


async def test_a_worker_hears_of_the_slot_and_so_does_who_looks(engine: Engine) -> None:
    run_id = await fired_run(engine)
    claimed = {run.fence.run_id: run.fired for run in await engine.claim(await engine.session())}
    assert list(claimed.values()) == [FIRED, None]
    assert (await engine.status(run_id)).fired == FIRED
    listed = await reads.answer(engine.pool, engine.namespace, ListRuns(), room=engine.room)
    assert isinstance(listed, ListReply)
    assert [run.fired for run in listed.runs] == [None, FIRED]


async def test_a_generation_and_a_retry_are_of_the_same_slot(engine: Engine) -> None:
    run_id = await fired_run(engine)
    session = await engine.session()
    run = await engine.claim_one(session)
    await engine.record(unit(run.fence, end=onward()))
    (next_one,) = [one for one in await engine.claim(session) if one.fence.run_id == run_id]
    assert next_one.fired == FIRED
    await engine.record(unit(next_one.fence, end=failed()))
    again = await retried(engine, run_id)
    assert (await engine.claim_one(session)).fired == FIRED
    assert (await engine.status(again.run_id)).fired == FIRED


async def test_no_client_says_of_which_slot_its_run_is(engine: Engine) -> None:
    (answer,) = await engine.enqueue(new_run(fired=FIRED))
    assert answer.error is not None
    assert answer.error.code == UsageError.code


async def test_a_batch_without_a_slot_is_inserted_by_the_statement_of_before(engine: Engine) -> None:
    """Which knows nothing of slots: no run pays for what others are of."""
    told: list[str] = []

    async def listening(connection: Connection) -> None:
        rows = prepared.rows

        async def heard(to: Connection, statement: str, parameters: Sequence[Array]) -> list[tuple[Any, ...]]:
            told.append(statement)
            return await rows(to, statement, parameters)

        with patch.object(prepared, "rows", heard):
            await enqueue.insert(connection, [(engine.namespace, new_run())])
            await enqueue.insert(connection, [(engine.namespace, new_run(fired=FIRED))])

    await engine.pool.run(listening)
    assert ["fired" in statement for statement in told] == [False, True]
