"""Runs that wait for a task's key are told when they may ask for it again: whatever has become of its owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec import Raw, structs

from aiki.core.states import Move, State
from aiki.wire.messages import Cancel, Claimed, End, Pause, Recorded, Resume
from aikid.engine import control
from aikid.engine.key_lines import tell_of
from aikid.store import key_lines
from tests.integration.daemon.engine import Engine, completed, entry, onward, parked, unit
from tests.integration.daemon.keyed import (
    CALL,
    KEY,
    ask,
    asked,
    asking,
    ending,
    held,
    owner,
    told,
    waiters,
    waiting,
    words,
)

pytestmark = pytest.mark.anyio

WORD = [("key", CALL)]


async def left_memory(engine: Engine, run: Claimed) -> None:
    assert await engine.record(unit(run.fence, end=parked(0, "key"))) == [Recorded("done")]


async def failed(engine: Engine, run: Claimed) -> None:
    assert await engine.results(unit(run.fence, end=End(Move.FAIL, error=Raw(b'{"type":"E","message":"no"}'))))


async def cancelled(engine: Engine, run: Claimed) -> None:
    await control.cancel(engine.pool, engine.namespace, Cancel([run.fence.run_id], force=True))


async def paused(engine: Engine, run: Claimed) -> None:
    await control.pause(engine.pool, engine.namespace, Pause([run.fence.run_id]))
    assert await engine.results(unit(run.fence, end=End(Move.RELEASE))) == ["done"]
    assert await engine.state(run.fence.run_id) is State.PAUSED


async def blocked(engine: Engine, run: Claimed) -> None:
    assert await engine.results(unit(run.fence, end=End(Move.DIVERGE, why="nondeterminism"))) == ["done"]


async def continued(engine: Engine, run: Claimed) -> None:
    assert await engine.results(unit(run.fence, end=onward())) == ["done"]


async def drained(engine: Engine, run: Claimed) -> None:
    assert await engine.results(unit(run.fence, end=End(Move.RELEASE))) == ["done"]


async def lost(engine: Engine, run: Claimed) -> None:
    ((session,),) = await engine.execute("SELECT session_id::text FROM aiki.runs WHERE id = %s", run.fence.run_id)
    await engine.expire(session)
    await engine.rescue()


async def deleted(engine: Engine, run: Claimed) -> None:
    await engine.execute("DELETE FROM aiki.runs WHERE id = %s", run.fence.run_id)


async def gave_it_back(engine: Engine, run: Claimed) -> None:
    await asked(engine, run, ask("free"))


@pytest.mark.parametrize(
    "over",
    [failed, cancelled, paused, blocked, continued, drained, lost, deleted, gave_it_back],
    ids=lambda over: over.__name__,
)
async def test_the_first_in_line_is_told_when_the_owner_can_go_on_no_more(
    engine: Engine, over: Callable[[Engine, Claimed], Awaitable[None]]
) -> None:
    run = await owner(engine)
    first, second = await waiting(engine), await waiting(engine)
    await told(engine)
    assert await words(engine, first) == []
    await over(engine, run)
    changes = await told(engine)
    assert (await words(engine, first), await words(engine, second)) == (WORD, [])
    assert [run_id for runs in changes.told.values() for run_id, _ in runs] == [first.fence.run_id]
    assert (await asked(engine, first)).result == "won"
    assert [run_id for run_id, _ in await waiters(engine)] == [second.fence.run_id]


async def test_a_run_that_has_left_memory_is_woken_by_word_of_its_key(engine: Engine) -> None:
    run, other = await owner(engine), await waiting(engine)
    await left_memory(engine, other)
    assert await engine.state(other.fence.run_id) is State.WAITING
    ended = await engine.recorded(ending(run, end=completed()))
    assert ended.changes.keys == [KEY]
    changes = await told(engine, KEY)
    assert dict(changes.queued) == {("default", "flow", "1.0"): 1}
    again = await engine.claim_one()
    assert [(one.kind, one.name) for one in again.arrivals] == WORD
    assert (await asked(engine, again)).value == Raw(b'"paid"')
    taking = structs.replace(entry("charge"), takes=(1,))
    assert (await engine.record(unit(again.fence, 0, taking)))[0].result == "done"
    assert await words(engine, again) == []


async def test_a_park_does_not_sleep_over_word_of_its_key(engine: Engine) -> None:
    run, other = await owner(engine), await waiting(engine)
    await asked(engine, run, ask("free"))
    await told(engine)
    (said,) = await engine.record(unit(other.fence, end=parked(0, "key")))
    assert (said.parked, said.news) == (False, 1)


async def test_all_are_told_of_a_result_a_hundred_a_commit(engine: Engine) -> None:
    run, session = await owner(engine), await engine.session()
    for _ in range(250):
        await engine.queued_run()
    others = await engine.claim(session, limit=200) + await engine.claim(session, limit=200)
    assert {one.keys[0].result for one in await engine.record(*map(asking, others))} == {"waits"}
    await engine.record(ending(run))
    counts = [sum(len(runs) for runs in changes.told.values()) async for changes in tell_of(engine.pool, [KEY])]
    assert counts == [100, 100, 50]
    assert [run_id for run_id, is_told in await waiters(engine) if not is_told] == []
    assert {one.keys[0].result for one in await engine.record(*map(asking, others))} == {"settled"}
    assert await waiters(engine) == []


async def test_nobody_is_told_twice_until_it_has_asked_and_the_next_one_after_five_seconds(engine: Engine) -> None:
    run = await owner(engine)
    first, second = await waiting(engine), await waiting(engine)
    await asked(engine, run, ask("free"))
    for _ in range(3):
        await told(engine)
    assert (await words(engine, first), await words(engine, second)) == (WORD, [])
    await engine.execute(
        "UPDATE aiki.task_key_waiters SET told_at = told_at - interval '5 s' WHERE told_at IS NOT NULL"
    )
    for _ in range(3):
        await told(engine)
    assert (await words(engine, first), await words(engine, second)) == (WORD, WORD)
    assert (await asked(engine, second)).result == "won"
    assert (await asked(engine, first)).result == "waits"
    await asked(engine, second, ask("free"))
    await told(engine)
    assert await words(engine, first) == WORD * 2


async def test_a_run_that_is_paused_is_passed_over_and_keeps_its_place(engine: Engine) -> None:
    run = await owner(engine)
    first, second = await waiting(engine), await waiting(engine)
    await left_memory(engine, first)
    await control.pause(engine.pool, engine.namespace, Pause([first.fence.run_id]))
    await asked(engine, run, ask("free"))
    await told(engine)
    assert await words(engine, second) == WORD
    assert [run_id for run_id, _ in await waiters(engine)] == [first.fence.run_id, second.fence.run_id]
    await control.resume(engine.pool, engine.namespace, Resume([first.fence.run_id]))
    again = await engine.claim_one()
    assert again.arrivals == []
    assert (await asked(engine, again)).result == "won", "it asks by itself"


async def test_an_owner_that_was_paused_asks_again_when_it_goes_on_and_shares_what_another_has_come_to(
    engine: Engine,
) -> None:
    run = await owner(engine)
    others = [await waiting(engine) for _ in range(10)]
    await paused(engine, run)
    await told(engine)
    assert (await asked(engine, others[0])).result == "won"
    await control.resume(engine.pool, engine.namespace, Resume([run.fence.run_id]))
    again = await engine.claim_one()
    waits = await asked(engine, again)
    assert (waits.result, waits.holder) == ("waits", others[0].fence.run_id)
    await engine.record(ending(others[0], value=b'"by another"'))
    await told(engine)
    for one in (again, *others[1:]):
        assert await words(engine, one) == WORD
        assert (await asked(engine, one)).value == Raw(b'"by another"')


async def test_those_who_are_gone_leave_the_line_when_they_are_seen(engine: Engine) -> None:
    run = await owner(engine)
    ended, onwards, gone, last = [await waiting(engine) for _ in range(4)]
    await engine.results(unit(ended.fence, end=completed()))
    await engine.results(unit(onwards.fence, end=onward()))
    await deleted(engine, gone)
    await asked(engine, run, ask("free"))
    await told(engine)
    assert await waiters(engine) == [(last.fence.run_id, True)]
    assert await words(engine, last) == WORD


async def test_a_run_that_goes_on_in_its_next_generation_has_no_word_of_the_last_ones_keys(engine: Engine) -> None:
    run, other = await owner(engine), await waiting(engine)
    await asked(engine, run, ask("free"))
    await told(engine)
    assert await words(engine, other) == WORD
    await engine.results(unit(other.fence, end=onward()))
    again = await engine.claim_one()
    assert again.arrivals == []
    assert (await asked(engine, again)).result == "won"


async def test_a_try_that_could_not_be_stopped_keeps_a_key_until_its_session_has_ended(engine: Engine) -> None:
    session = await engine.session()
    run = await held(engine, session)
    assert (await asked(engine, run)).result == "won"
    other = await waiting(engine)
    end = structs.replace(unit(run.fence, end=End(Move.RELEASE)), keys=[ask("left")])
    assert await engine.results(end) == ["done"]
    await told(engine)
    assert (await words(engine, other), (await asked(engine, other)).result) == ([], "waits")
    again = await engine.claim_one()
    assert (await asked(engine, again)).result == "waits", "nor has its own run's next claim it"
    await asked(engine, again, ask("free"))
    assert (await asked(engine, other)).result == "waits", "which cannot give it back"
    await engine.close(session)
    await told(engine)
    assert await words(engine, other) == WORD
    assert (await asked(engine, other)).result == "won"


async def test_of_two_daemons_that_look_at_once_one_tells(engine: Engine, rival: Engine) -> None:
    run = await owner(engine)
    others = [await waiting(engine) for _ in range(4)]
    await engine.record(ending(run))
    lines = [await one.pool.run(lambda c: key_lines.look(c, [KEY])) for one in (engine, rival)]
    assert lines[0][0].told_at is None
    first = [await one.pool.run(lambda c: key_lines.first(c, [(KEY, 100)])) for one in (engine, rival)]
    assert first[0] == first[1]
    assert [len(waiter) for waiter in first] == [4, 4]
    reached = [
        await one.pool.run(lambda c, some=some: key_lines.tell(c, some))  # type: ignore[misc]
        for one, some in zip((engine, rival), first, strict=True)
    ]
    assert [len(one.held) for one in reached] == [4, 0]
    for other in others:
        assert await words(engine, other) == WORD


async def test_keys_that_are_held_are_passed_and_each_that_is_waited_for_is_come_to(engine: Engine) -> None:
    run = await held(engine)
    names = [f"k{number:03}" for number in range(130)]
    assert {a.result for a in (await engine.record(asking(run, *(ask(key=name) for name in names))))[0].keys} == {"won"}
    other = await held(engine)
    await engine.record(asking(other, *(ask(key=name) for name in names)))
    assert await words(engine, other) == []
    await told(engine)
    await asked(engine, run, ask("free", key=names[-1]), ask("free", key=names[3]))
    await told(engine)
    assert await words(engine, other) == [("key", "task:charge@k003"), ("key", "task:charge@k129")]
