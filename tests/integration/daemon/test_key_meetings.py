"""Asks for a task's key meet results, frees, ends, claims and each other: each interleaving is forced."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from msgspec import Raw

from aiki.core.states import Move
from aiki.rules.sharing import Asker
from aiki.wire.messages import Claimed, End, Unit
from aikid.store import key_lines, task_keys
from aikid.store.key_lines import BEGINNING
from aikid.store.pool import Connection
from tests.integration.daemon.arriving import LOCK
from tests.integration.daemon.engine import Engine, completed, locked, unit
from tests.integration.daemon.keyed import (
    CALL,
    KEY,
    SECOND,
    ask,
    asked,
    asking,
    ending,
    held,
    owner,
    result_of,
    told,
    waiters,
    waiting,
    words,
)

pytestmark = pytest.mark.anyio

KEY_ROW = "SELECT 1 FROM aiki.task_keys WHERE key = %s FOR UPDATE"
OTHERS_KEY = """
INSERT INTO aiki.task_keys (namespace, scope, task, key, run_id, generation, epoch, call, digest)
VALUES ('default', '', 'charge', %s, gen_random_uuid(), 0, 1, 'task:charge@k', 'd')
"""


async def in_turn(engine: Engine, lock: str, row: str, *acts: Coroutine[Any, Any, Any]) -> list[Any]:
    """Let acts wait for what `lock` holds, one after the other, and go on in that order; return what they return."""
    async with locked(engine.database, lock, row) as holder:
        tasks = []
        for count, act in enumerate(acts, 1):
            tasks.append(asyncio.create_task(act))
            await engine.until_waiting(count)
        await holder.rollback()
    return [await task for task in tasks]


async def end(engine: Engine, run: Claimed) -> None:
    assert await engine.results(unit(run.fence, end=completed())) == ["done"]


@pytest.mark.parametrize("turn", [1, -1])
async def test_of_two_that_ask_first_on_two_daemons_one_wins(engine: Engine, rival: Engine, turn: int) -> None:
    runs = [await held(engine), await held(engine)]
    acts = [engine.record(asking(runs[0])), rival.record(asking(runs[1]))][::turn]
    said = await in_turn(engine, OTHERS_KEY, "k", *acts)
    assert sorted(result_of(one)[1] for (one,) in said) == ["waits", "won"]
    ((holder,),) = await engine.execute("SELECT run_id::text FROM aiki.task_keys")
    (waits,) = [one.keys[0] for (one,) in said if one.keys[0].result == "waits"]
    assert waits.holder == holder
    assert [run_id for run_id, _ in await waiters(engine)] == [
        run.fence.run_id for run in runs if run.fence.run_id != holder
    ]


async def test_a_result_meets_an_ask_that_came_before_it(engine: Engine, rival: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    (said,), done = await in_turn(engine, KEY_ROW, "k", rival.record(asking(other)), engine.recorded(ending(run)))
    assert result_of(said) == ("done", "waits")
    assert done.changes.keys == [KEY], "it sees who waits, and has them told"
    await told(engine, KEY)
    assert await words(engine, other) == [("key", CALL)]


async def test_a_result_meets_an_ask_that_came_after_it(engine: Engine, rival: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    done, (said,) = await in_turn(engine, KEY_ROW, "k", engine.recorded(ending(run)), rival.record(asking(other)))
    assert result_of(said) == ("done", "settled")
    assert (done.changes.keys, await waiters(engine)) == ([], [])


async def test_a_key_that_is_given_back_meets_an_ask_that_came_before_it(engine: Engine, rival: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    acts = rival.record(asking(other)), engine.recorded(asking(run, ask("free")))
    (said,), done = await in_turn(engine, KEY_ROW, "k", *acts)
    assert result_of(said) == ("done", "waits")
    assert done.changes.keys == [KEY]
    await told(engine, KEY)
    assert await words(engine, other) == [("key", CALL)]


async def test_a_key_that_is_given_back_meets_asks_that_came_after_it(engine: Engine, rival: Engine) -> None:
    run, others = await owner(engine), [await held(engine) for _ in range(2)]
    acts = [engine.record(asking(run, ask("free"))), *(rival.record(asking(other)) for other in others)]
    _, *said = await in_turn(engine, KEY_ROW, "k", *acts)
    assert sorted(result_of(one)[1] for (one,) in said) == ["waits", "won"]


async def test_an_owner_that_ends_while_another_asks_is_seen_to_have_ended(engine: Engine, rival: Engine) -> None:
    """What an owner is now is read with its key's row locked: not by a snapshot that waited for that."""
    run, other = await owner(engine), await held(engine)
    async with locked(engine.database, KEY_ROW, "k") as holder:
        asks = asyncio.create_task(rival.record(asking(other)))
        await engine.until_waiting()
        await end(engine, run)
        await holder.rollback()
    assert result_of((await asks)[0]) == ("done", "won")


@pytest.mark.parametrize("owner_first", [True, False])
async def test_an_owner_that_is_claimed_again_and_another_that_asks_do_not_both_win(
    engine: Engine, rival: Engine, owner_first: bool
) -> None:
    run, other = await owner(engine), await held(engine)
    assert await engine.results(unit(run.fence, end=End(Move.RELEASE))) == ["done"]
    again = await engine.claim_one()
    acts = [engine.record(asking(again)), rival.record(asking(other))]
    said = await in_turn(engine, KEY_ROW, "k", *(acts if owner_first else acts[::-1]))
    assert [result_of(one)[1] for (one,) in said] == ["won", "waits"]


async def test_an_owner_that_is_claimed_while_another_asks_asks_itself_before_it_tries(
    engine: Engine, rival: Engine
) -> None:
    run, other = await owner(engine), await held(engine)
    assert await engine.results(unit(run.fence, end=End(Move.RELEASE))) == ["done"]
    async with locked(engine.database, KEY_ROW, "k") as holder:
        asks = asyncio.create_task(rival.record(asking(other)))
        await engine.until_waiting()
        again = await engine.claim_one()
        await holder.rollback()
    assert result_of((await asks)[0]) == ("done", "won")
    waits = await asked(engine, again)
    assert (waits.result, waits.holder) == ("waits", other.fence.run_id)


async def test_of_a_late_owner_and_who_has_taken_over_one_result_stands(engine: Engine, rival: Engine) -> None:
    session = await engine.session()
    run, other = await held(engine, session), await held(engine)
    assert (await asked(engine, run)).result == "won"
    assert (await asked(engine, other)).result == "waits"
    await engine.expire(session)
    await engine.rescue()
    assert (await asked(engine, other)).result == "won"
    acts = engine.record(ending(run, value=b'"late"')), rival.record(ending(other, value=b'"in time"'))
    said = [(await one)[0].result for one in acts]
    assert said == ["fenced", "done"]
    again = await engine.claim_one()
    assert (await asked(engine, again)).value == Raw(b'"in time"')
    ((count,),) = await engine.execute("SELECT count(*) FROM aiki.journal WHERE key = %s", CALL)
    assert count == 1


async def test_who_asks_while_it_is_told_is_not_told(engine: Engine, rival: Engine) -> None:
    run, other = await owner(engine), await waiting(engine)
    await asked(engine, run, ask("free"))
    asks, _ = await in_turn(engine, OTHERS_KEY, "k", engine.record(asking(other)), told(rival, KEY))
    assert result_of(asks[0]) == ("done", "won")
    assert await words(engine, other) == []
    assert await waiters(engine) == []


async def test_who_is_told_while_it_asks_has_left_the_line(engine: Engine, rival: Engine) -> None:
    run, other = await owner(engine), await waiting(engine)
    await asked(engine, run, ask("free"))
    _, asks = await in_turn(engine, LOCK, other.fence.run_id, told(rival, KEY), engine.record(asking(other)))
    assert result_of(asks[0]) == ("done", "won")
    assert await words(engine, other) == [("key", CALL)]
    assert await waiters(engine) == []


async def test_two_daemons_that_tell_at_once_tell_once(engine: Engine, rival: Engine) -> None:
    run, other = await owner(engine), await waiting(engine)
    await engine.record(ending(run))
    await in_turn(engine, LOCK, other.fence.run_id, told(engine, KEY), told(rival))
    assert await words(engine, other) == [("key", CALL)]


async def test_a_run_that_ends_while_it_is_told_is_not(engine: Engine, rival: Engine) -> None:
    run, other = await owner(engine), await waiting(engine)
    await engine.record(ending(run))
    await in_turn(engine, LOCK, other.fence.run_id, end(engine, other), told(rival, KEY))
    ((count,),) = await engine.execute("SELECT count(*) FROM aiki.inbox")
    assert count == 0
    await told(engine)
    assert await waiters(engine) == []


async def test_batches_that_want_the_same_keys_in_opposite_orders_meet_no_deadlock(
    engine: Engine, rival: Engine
) -> None:
    """Asks and results of forty keys, mixed: each batch locks its keys in one order, whatever it wants of them."""
    names = [f"k{number:02}" for number in range(40)]
    one, other = await held(engine), await held(rival)
    await engine.record(asking(one, *(ask(key=name) for name in names[::2])))
    await rival.record(asking(other, *(ask(key=name) for name in names[1::2])))

    def wanted(run: Claimed, own: int) -> Unit:
        mine, others = names[own::2], names[1 - own :: 2]
        made = asking(
            run, *(ask("done", key=name, keep=SECOND * 60) for name in mine), *(ask(key=name) for name in others[::-1])
        )
        made.keys = made.keys[:: 1 if own else -1]
        made.entries = [ending(run, key=name).entries[0] for name in mine]
        return made

    acts = engine.record(wanted(one, 0)), rival.record(wanted(other, 1))
    async with locked(engine.database, KEY_ROW, "k20") as holder:
        tasks = [asyncio.create_task(act) for act in acts]
        await engine.until_waiting(2)
        await holder.rollback()
    said = [(await task)[0] for task in tasks]
    assert [one.result for one in said] == ["done", "done"]
    found = [sorted({answer.result for answer in one.keys}) for one in said]
    assert sorted(found) == [["settled", "taken"], ["taken", "waits"]]
    ((deadlocks,),) = await engine.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks == 0


async def test_who_takes_the_dead_out_of_line_waits_for_nobody_who_does_so_too(engine: Engine) -> None:
    run, others = await owner(engine), [await waiting(engine) for _ in range(2)]
    await engine.execute("DELETE FROM aiki.runs WHERE id = %s", others[0].fence.run_id)
    await asked(engine, run, ask("free"))
    hold = "SELECT 1 FROM aiki.task_key_waiters WHERE run_id = %s FOR UPDATE"
    async with locked(engine.database, hold, others[0].fence.run_id):
        lines = await engine.pool.run(lambda c: key_lines.walk(c, BEGINNING))
        waiter = await engine.pool.run(lambda c: key_lines.first(c, [(lines[0].key, 9)]))
        assert [one.is_gone for one in waiter] == [True, False]
        reached = await engine.pool.run(lambda c: key_lines.tell(c, waiter))
        assert len(reached.held) == 1
        assert len(await waiters(engine)) == 2
    await engine.pool.run(lambda c: key_lines.tell(c, waiter))
    assert await waiters(engine) == [(others[1].fence.run_id, True)]


async def test_a_unit_that_guesses_the_fence_of_a_claim_that_is_being_made_is_fenced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written by a snapshot that has the claim, after one that has not."""
    run, other = await held(engine), await held(engine)
    seen = task_keys.askers

    async def before_the_claim(connection: Connection, units: Sequence[Unit]) -> dict[int, tuple[Asker, str]]:
        known = await seen(connection, units)
        return {place: asker for place, asker in known.items() if asker[0].run_id != run.fence.run_id}

    monkeypatch.setattr(task_keys, "askers", before_the_claim)
    said = await engine.record(asking(run), asking(other))
    assert [result_of(one) for one in said] == [("fenced",), ("done", "won")]
