"""What runs take up: exact where they are few, and of one namespace alone."""

from __future__ import annotations

import pytest
from msgspec import Raw

from aiki.core import retention
from aiki.core.states import Move
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import End, Storage, StorageReply
from aiki.wire.weights import SIZE_BYTES
from aikid.engine import sizes
from aikid.engine.expiring import Terms
from tests.integration.daemon.engine import Engine, new_run, running_engine, unit

pytestmark = pytest.mark.anyio


async def asked(
    engine: Engine, namespace: str | None = None, *, most: int = 100, room: int = MESSAGE_BYTES
) -> StorageReply:
    return await sizes.storage(engine.pool, namespace or engine.namespace, Storage(most), room=room)


async def test_few_runs_are_all_looked_at(engine: Engine, database: str) -> None:
    session = await engine.session()
    small = [new_run() for _ in range(6)]
    large = [new_run(workflow="large", input=Raw(b'{"text": "%s"}' % bytes(range(97, 122)) * 1)) for _ in range(3)]
    await engine.enqueue(*small)
    claimed = (await engine.claim_reply(session, limit=4)).runs
    await engine.results(*(unit(run.fence, end=End(Move.COMPLETE, output=Raw(b"1"))) for run in claimed))
    await engine.enqueue(*large)
    async with running_engine(database, "others") as other:
        await other.enqueue(new_run(workflow="theirs"))
        reply = await asked(engine)
        assert (reply.sampled, reply.population, reply.is_whole) == (10, 10, True)
        found = {one.workflow: (one.runs, one.ended) for one in reply.workflows}
        assert found == {"flow": (6, 4), "large": (3, 0)}
        assert [one.workflow for one in (await asked(engine, "others")).workflows] == ["theirs"]
    held = {one.name: one.bytes + one.index_bytes for one in reply.tables}
    assert held["runs"] > 0
    assert sum(one.bytes for one in reply.workflows) < sum(held.values())


async def test_without_runs_there_are_tables_alone(engine: Engine) -> None:
    reply = await asked(engine, "nobody")
    assert reply.workflows == []
    assert {"runs", "journal", "run_history", "ended"} <= {one.name for one in reply.tables}


async def test_only_as_much_is_told_as_fits_and_as_was_asked_for(engine: Engine) -> None:
    await engine.enqueue(*(new_run(workflow=f"w{n}") for n in range(40)))
    assert len((await asked(engine, most=7)).workflows) == 7
    tables = len((await asked(engine)).tables)
    told = await asked(engine, room=4096 + (tables + 5) * SIZE_BYTES)
    assert 0 < len(told.workflows) < 40


async def test_what_retention_would_free_is_told(engine: Engine) -> None:
    session = await engine.session()
    await engine.enqueue(*(new_run() for _ in range(6)))
    claimed = (await engine.claim_reply(session, limit=4)).runs
    await engine.results(*(unit(run.fence, end=End(Move.COMPLETE, output=Raw(b"1"))) for run in claimed))
    await engine.execute(
        "UPDATE aiki.runs SET finished_at = finished_at - interval '2 h' WHERE id = ANY(%s)",
        [run.fence.run_id for run in claimed[:3]],
    )

    async def freed(**periods: str) -> tuple[int, bool]:
        terms = Terms(retention.read(periods) if periods else retention.NOTHING)
        (one,) = (
            await sizes.storage(engine.pool, engine.namespace, Storage(), room=MESSAGE_BYTES, terms=terms)
        ).workflows
        return one.free_runs, 0 < one.free_bytes < one.bytes

    assert await freed() == (0, False)
    assert await freed(failed="1h") == (0, False)
    assert await freed(completed="3h") == (0, False)
    assert await freed(completed="1h") == (3, True)
    assert await freed(completed="keep") == (0, False)
