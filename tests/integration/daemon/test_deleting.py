"""A run is deleted whole, with its origin, and only when nobody needs it, whoever comes meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from aiki.core.states import TERMINAL, State
from aiki.rules.retaining import Holder, Why, holds
from aiki.wire.messages import Claimed, FirstEvent, Started
from aikid.store import deleting, enqueue, retention
from tests.integration.daemon.arriving import LOCK
from tests.integration.daemon.deleting import delete, traces
from tests.integration.daemon.engine import Engine, completed, event, locked, new_id, new_run, unit
from tests.integration.daemon.family import done, over, parent_of, start, starting
from tests.integration.daemon.retrying import ended, failed, outcome, retried

pytestmark = pytest.mark.anyio
DIGEST = "a" * 32
BAD = outcome("bad", asked=0, ok=False)


async def finished(engine: Engine, **options: Any) -> str:
    """Return a run that has completed."""
    return (await ended(engine, outcome("a", asked=0), end=completed(), **options)).fence.run_id


async def family(engine: Engine) -> tuple[Claimed, str]:
    """Return a run that goes on, and its child that has completed."""
    child = start()
    run = await parent_of(engine, child)
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    return run, child.id


async def started(engine: Engine, run: Claimed) -> list[Started]:
    arrivals = (await engine.inbox(run.fence.run_id)).arrivals
    return [msgspec.json.decode(one.value, type=Started) for one in arrivals if one.kind == "op"]


async def while_locked(engine: Engine, run_id: str, act: Coroutine[Any, Any, Any]) -> Any:
    """Let an act wait for a run's row, delete meanwhile what may go, and return what the act comes to."""
    async with locked(engine.database, LOCK, run_id) as holder:
        task = asyncio.create_task(act)
        await engine.until_waiting()
        await holder.execute(b"DELETE FROM aiki.runs WHERE id = %s", [run_id])
        await holder.commit()
    return await task


async def test_nothing_is_left_of_a_run_in_any_table(engine: Engine) -> None:
    run_id = await engine.queued_run(labels={"a": "1", "b": "2"}, key="k", digest=DIGEST, timeout=60_000_000)
    await engine.send(event(run_id))
    run = await engine.claim_one()
    assert await engine.results(starting(run, start())) == ["done"]
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    assert await engine.results(unit(run.fence, 1, BAD, end=failed(2))) == ["done"]
    await done(engine)
    new = (await retried(engine, run_id)).run_id
    assert await engine.results(unit((await engine.claim_one()).fence, 3, end=completed())) == ["done"]
    await done(engine)
    for table, columns in {
        "attempts": "(run_id, generation, key, attempt, epoch, journal_length) VALUES (%s, 0, 'task:a:0:1', 1, 1, 0)",
        "generations": "(run_id, generation, history_seq, epoch) VALUES (%s, 1, 1, 1)",
        "task_counts": "(run_id, generation, seq, tasks) VALUES (%s, 9, 9, 9)",
        "task_key_waiters": "(namespace, scope, task, key, run_id, generation, call)"
        " VALUES ('default', '', 't', 'k', %s, 0, 'c')",
    }.items():
        for one in (run_id, new):
            await engine.execute(f"INSERT INTO aiki.{table} {columns}", one)
    assert await traces(engine, run_id) >= {"runs", "journal", "listing", "labels", "ended", "deadlines", "origins"}
    assert sorted((await delete(engine, run_id)).gone) == sorted([run_id, new])
    assert await traces(engine, run_id) | await traces(engine, new) == set()


@pytest.mark.parametrize("state", sorted(State))
async def test_only_runs_that_have_ended_go(engine: Engine, state: State) -> None:
    run_id = await finished(engine)
    await engine.execute("UPDATE aiki.runs SET state = %s", state)
    found = await delete(engine, run_id)
    assert found.gone == ([run_id] if state in TERMINAL else [])
    assert found.kept == ({} if state in TERMINAL else {run_id: Why.LIVE})


async def test_an_unknown_run_is_told_so_beside_those_that_go(engine: Engine) -> None:
    run_id, other = await finished(engine), new_id()
    found = await delete(engine, run_id, other)
    assert (found.gone, found.kept) == ([run_id], {other: Why.UNKNOWN})


async def test_a_run_whose_end_is_still_to_be_told_stays(engine: Engine) -> None:
    run_id = await finished(engine)
    await engine.execute("INSERT INTO aiki.errands (run_id, kind) VALUES (%s, 'close')", run_id)
    assert (await delete(engine, run_id)).kept == {run_id: Why.BUSY}


@pytest.mark.parametrize("attached", [False, True])
async def test_a_run_is_held_in_postgres_by_whom_the_rules_say(engine: Engine, attached: bool) -> None:
    for state, generation, asked_in, is_retried in itertools.product(State, (0, 1), (0, 1), (False, True)):
        run_id, newer, parent = await finished(engine), await finished(engine), await engine.queued_run()
        await engine.execute(
            "UPDATE aiki.runs SET state = %s, generation = %s WHERE id = %s", state, generation, parent
        )
        if is_retried:  # by a run that holds nothing itself
            await engine.execute("UPDATE aiki.runs SET retried_by = %s WHERE id = %s", newer, parent)
            await engine.execute("INSERT INTO aiki.origins VALUES (%s, %s)", parent, newer)
        if attached:
            await engine.execute(
                "INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at)"
                " VALUES (%s, gen_random_uuid(), %s, %s, false, 'wait', now())",
                *(parent, run_id, asked_in),
            )
        else:
            await engine.execute(
                "UPDATE aiki.runs SET parent_id = %s, parent_generation = %s WHERE id = %s", parent, asked_in, run_id
            )
        found = await delete(engine, run_id)
        is_held = holds(Holder(state, generation, asked_in, is_retried))
        assert found.gone == ([] if is_held else [run_id]), (state, generation, asked_in, is_retried)
        assert found.kept == ({run_id: Why.HELD} if is_held else {})
        assert found.holders == ({run_id: parent} if is_held else {})
        await engine.execute("UPDATE aiki.runs SET state = 'paused' WHERE state = 'queued'")


async def test_a_child_goes_when_its_parent_has_completed_or_is_gone(engine: Engine) -> None:
    run, child = await family(engine)
    assert (await delete(engine, child)).kept == {child: Why.HELD}
    assert await engine.results(unit(run.fence, 1, BAD, end=failed(2))) == ["done"]
    await done(engine)
    assert (await delete(engine, child)).holders == {child: run.fence.run_id}, "it may be retried, and finds its child"
    assert (await delete(engine, run.fence.run_id)).gone == [run.fence.run_id]
    assert (await delete(engine, child)).gone == [child]


async def test_a_retry_of_the_parent_holds_what_its_origin_has_started(engine: Engine) -> None:
    run, child = await family(engine)
    assert await engine.results(unit(run.fence, 1, BAD, end=failed(2))) == ["done"]
    await done(engine)
    new = (await retried(engine, run.fence.run_id)).run_id
    assert (await delete(engine, child)).kept == {child: Why.BUSY}, "the retry is still to be told of its end"
    await done(engine)
    assert (await delete(engine, child)).holders == {child: new}
    assert await engine.results(unit((await engine.claim_one()).fence, 3, end=completed())) == ["done"]
    await done(engine)
    assert (await delete(engine, child)).gone == [child]


async def test_an_origin_goes_as_a_whole_whoever_of_it_is_named_and_not_before_its_newest(engine: Engine) -> None:
    first = (await ended(engine, BAD)).fence.run_id
    second = (await retried(engine, first)).run_id
    assert (await delete(engine, first)).kept == {first: Why.LIVE}
    assert await engine.results(unit((await engine.claim_one()).fence, 2, BAD, end=failed(3))) == ["done"]
    third = (await retried(engine, second)).run_id
    assert await engine.results(unit((await engine.claim_one()).fence, 4, end=completed())) == ["done"]
    async with locked(engine.database, LOCK, second):
        assert (await delete(engine, third)).kept == {third: Why.BUSY}, "none waits, and none goes alone"
    assert sorted((await delete(engine, second)).gone) == sorted([first, second, third])


async def test_a_retry_that_waits_for_a_run_that_is_deleted_finds_none(engine: Engine) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    assert (await while_locked(engine, old, retried(engine, old))).result == "unknown"


async def test_a_run_that_is_being_retried_is_passed_over_and_then_stays(engine: Engine, rival: Engine) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    async with locked(engine.database, LOCK, old) as holder:
        order = asyncio.create_task(retried(rival, old))
        await engine.until_waiting()
        assert (await delete(engine, old)).kept == {old: Why.UNKNOWN}
        await holder.commit()
    assert (await order).result == "retried"
    assert (await delete(engine, old)).kept == {old: Why.LIVE}


async def test_a_parent_that_is_retried_while_its_child_is_pruned_finds_it(engine: Engine, rival: Engine) -> None:
    run, child = await family(engine)
    assert await engine.results(unit(run.fence, 1, BAD, end=failed(2))) == ["done"]
    await done(engine)
    async with locked(engine.database, LOCK, run.fence.run_id) as holder:
        order = asyncio.create_task(retried(rival, run.fence.run_id))
        await engine.until_waiting()
        found = await delete(engine, child, run.fence.run_id)
        assert (found.gone, found.kept[run.fence.run_id]) == ([], Why.UNKNOWN)
        await holder.commit()
    assert (await order).result == "retried"
    assert (await delete(engine, child, run.fence.run_id)).gone == []


async def test_a_start_with_the_key_of_a_run_that_is_being_deleted_attaches_to_no_ghost(engine: Engine) -> None:
    holder = await finished(engine, key="k", digest=DIGEST)
    await engine.queued_run()
    run = await engine.claim_one()
    act = engine.results(starting(run, start(key="k", digest=DIGEST)))
    async with locked(engine.database, LOCK, holder) as other:
        task = asyncio.create_task(act)
        await engine.until_waiting()
        await other.execute(b"UPDATE aiki.keys SET expires_at = now() + interval '1 hour'")
        await other.execute(b"DELETE FROM aiki.runs WHERE id = %s", [holder])
        await other.commit()
    assert await task == ["done"]
    (said,) = await started(engine, run)
    assert (said.result, said.run_id) == ("conflict", holder)
    assert said.message is not None
    assert "deleted after its retention" in said.message
    assert await engine.execute("SELECT FROM aiki.children") == []


async def test_a_run_that_a_parent_attaches_to_is_not_deleted_under_it(engine: Engine, rival: Engine) -> None:
    holder = await finished(engine, key="k", digest=DIGEST)
    await engine.queued_run()
    run = await engine.claim_one()
    async with locked(engine.database, LOCK, run.fence.run_id) as other:
        act = asyncio.create_task(rival.results(starting(run, start(key="k", digest=DIGEST))))
        await engine.until_waiting()
        await other.commit()
        assert await act == ["done"]
    assert [one.result for one in await started(engine, run)] == ["existing"]
    await done(engine)
    assert (await delete(engine, holder)).holders == {holder: run.fence.run_id}


@pytest.mark.parametrize(
    ("on_conflict", "digest", "said"),
    [
        ("error", DIGEST, "old"),
        ("existing", "b" * 32, "old"),
        ("retry_failed", DIGEST, "old"),
        ("error", "b" * 32, "conflict"),
        ("retry_failed", "b" * 32, "conflict"),
        ("restart", DIGEST, "new"),
        ("restart", "b" * 32, "new"),
    ],
)
async def test_the_key_of_a_run_that_is_gone_is_held_for_its_time(
    engine: Engine, on_conflict: str, digest: str, said: str
) -> None:
    old = (await ended(engine, BAD, key="k", digest=DIGEST)).fence.run_id
    assert (await delete(engine, old)).gone == [old]
    run = new_run(key="k", digest=digest, on_conflict=on_conflict)
    for _ in range(2):  # a repeat finds what the first has come to
        (answer,) = await engine.enqueue(run)
        code = answer.error.code if answer.error else None
        expected = {"old": (old, False, None), "conflict": (old, False, "conflict"), "new": (run.id, True, None)}
        assert (answer.id, answer.created, code) == expected[said]
    ((holds_it, expires),) = await engine.execute("SELECT run_id::text, expires_at IS NOT NULL FROM aiki.keys")
    assert (holds_it, expires) == ((run.id, False) if said == "new" else (old, True))


async def test_a_key_without_a_time_of_its_own_is_free_with_its_run(engine: Engine) -> None:
    old = await finished(engine, key="k", digest=DIGEST)
    assert (await delete(engine, old, key_seconds=0)).gone == [old]
    (answer,) = await engine.enqueue(new_run(key="k", digest="b" * 32))
    assert (answer.created, answer.error) == (True, None)


@pytest.mark.parametrize("key_seconds", [0, 60])
async def test_an_enqueue_that_meets_the_deletion_of_who_has_its_key_is_answered_as_before_or_behind_it(
    engine: Engine, rival: Engine, key_seconds: int
) -> None:
    old = await finished(engine, key="k", digest=DIGEST)
    run = new_run(key="k", digest=DIGEST)
    change = b"DELETE FROM aiki.keys" if not key_seconds else b"UPDATE aiki.keys SET expires_at = now()"
    async with locked(engine.database, LOCK, old) as holder:
        await holder.execute(b"DELETE FROM aiki.runs WHERE id = %s", [old])
        await holder.execute(change)
        asked = asyncio.create_task(rival.enqueue(run))
        await engine.until_waiting()
        await holder.commit()
        (answer,) = await asked
    is_free = not key_seconds
    assert (answer.error, answer.id, answer.created) == (None, run.id if is_free else old, is_free)


async def test_a_first_event_for_a_run_that_is_gone_is_refused_with_words(engine: Engine) -> None:
    old = await finished(engine, key="k", digest=DIGEST)
    await delete(engine, old)
    (answer,) = await engine.enqueue(
        new_run(key="k", digest=DIGEST, on_conflict="existing", send=FirstEvent("approved", Raw(b'"yes"')))
    )
    assert answer.error is not None
    assert (answer.error.code, answer.id) == ("not_found", old)
    assert "deleted after its retention" in answer.error.message


async def test_a_child_that_outlives_a_parent_that_is_gone_ends_as_any_other(engine: Engine) -> None:
    run = await parent_of(engine, start(parent_close="abandon"))
    child = await engine.claim_one()
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    await done(engine)
    assert (await delete(engine, run.fence.run_id)).gone == [run.fence.run_id]
    assert await engine.results(over(child)) == ["done"]
    await done(engine)
    assert (await engine.execute("SELECT FROM aiki.errands")) == []
    assert (await delete(engine, child.fence.run_id)).gone == [child.fence.run_id]


@pytest.mark.parametrize(
    ("statement", "types"),
    [
        (deleting._LOCK, ["uuid"] * 2),
        (deleting._LOOK, ["uuid"] * 3),
        (deleting._DELETE, [*["uuid"] * 12, *["bigint"] * 3, "uuid"]),
        (retention._LOOK, [*["text"] * 4, *["bigint"] * 2, "uuid"]),
        (retention._HAVE_ANY, [*["text"] * 4, "bigint"]),
        (enqueue._FREE, [*["text"] * 3, "uuid"]),
        (enqueue._BY_KEY, ["text"] * 3),
    ],
)
async def test_whatever_is_read_and_deleted_is_found_by_a_probe_of_its_own(
    engine: Engine, statement: str, types: list[str]
) -> None:
    """Of empty tables a plan may be made that walks through whole indexes, and it stays while they grow."""

    async def plan(connection: Any) -> list[str]:
        text = re.sub("%b", lambda _: f"${next(places)}", statement)
        kinds = ", ".join(f"{kind}[]" for kind in types)
        await connection.execute(f"PREPARE one ({kinds}) AS {text}", prepare=False)
        given = ", ".join(["NULL"] * len(types))
        rows = await (await connection.execute(f"EXPLAIN EXECUTE one({given})", prepare=False)).fetchall()
        await connection.execute("DEALLOCATE one", prepare=False)
        return [line for (line,) in rows]

    places = itertools.count(1)
    lines = await engine.pool.run(plan)
    assert not [line for line in lines if "Seq Scan" in line]
    probes = [place for place, line in enumerate(lines) if "Index Scan" in line or "Index Only Scan" in line]
    assert probes
    assert [lines[place] for place in probes if "Index Cond" not in lines[place + 1]] == []
