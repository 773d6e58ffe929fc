"""Keys of tasks that several runs may use: who wins one, who waits, and whose result it stands for."""

from __future__ import annotations

import pytest
from msgspec import Raw, structs

from aiki.core.states import State
from aiki.wire.messages import KeyAnswer
from tests.integration.daemon.engine import Engine, completed, entry, parked, unit
from tests.integration.daemon.keyed import (
    CALL,
    TAKEN,
    ask,
    asked,
    asking,
    ending,
    held,
    owner,
    result,
    result_of,
    waiters,
)

pytestmark = pytest.mark.anyio


async def test_the_first_that_asks_wins_and_the_next_one_waits_and_shares_its_result(engine: Engine) -> None:
    run, other = await held(engine), await held(engine)
    won = await asked(engine, run)
    assert (won.result, won.holder) == ("won", None)
    waits = await asked(engine, other)
    assert (waits.result, waits.holder, waits.since) == ("waits", run.fence.run_id, won.since)
    (said,) = await engine.record(ending(run, end=completed()))
    assert (said.result, said.keys) == ("done", [TAKEN])
    assert await engine.state(run.fence.run_id) is State.COMPLETED
    assert await asked(engine, other) == KeyAnswer("settled", run.fence.run_id, Raw(b'"paid"'))
    assert await waiters(engine) == []


async def test_an_ask_is_repeated_at_will(engine: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    first = await asked(engine, run)
    assert [await asked(engine, run) for _ in range(2)] == [first, first]
    assert first.result == "won"
    assert [(await asked(engine, other)).result for _ in range(3)] == ["waits"] * 3
    assert len(await waiters(engine)) == 1


async def test_a_unit_whose_reply_was_lost_is_told_once_more_what_became_of_its_keys(engine: Engine) -> None:
    run, other = await held(engine), await held(engine)
    both = structs.replace(unit(run.fence, 0, entry("a"), result()), keys=[ask("own", key="l"), ask("done", keep=0)])
    assert (await asked(engine, run)).result == "won"
    said = [(await engine.record(both))[0] for _ in range(2)]
    assert [result_of(one) for one in said] == [("done", "won", "taken")] * 2
    assert [result_of(one) for one in await engine.record(both, both)] == [("done", "won", "taken")] * 2
    assert (await asked(engine, other, ask(key="l"))).result == "waits"
    end = ending(run, 2, key="l", end=completed())
    assert [result_of((await engine.record(end))[0]) for _ in range(2)] == [("done", "taken")] * 2


async def test_runs_of_one_batch_share_a_key_and_what_is_given_in_it_counts_for_who_asks(engine: Engine) -> None:
    runs = [await held(engine) for _ in range(4)]
    said = await engine.record(*map(asking, runs[:3]))
    assert [one.keys[0].result for one in said] == ["won", "waits", "waits"]
    assert {one.keys[0].holder for one in said[1:]} == {runs[0].fence.run_id}
    said = await engine.record(asking(runs[1]), ending(runs[0]), asking(runs[3]))
    assert [result_of(one) for one in said] == [("done", "settled"), ("done", "taken"), ("done", "settled")]
    assert said[0].keys[0].value == Raw(b'"paid"')
    assert [run_id for run_id, _ in await waiters(engine)] == [runs[2].fence.run_id]


async def test_another_input_is_a_conflict_while_a_key_is_held_or_done_and_not_after_that(engine: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    another = ask(digest="e" * 32)
    assert await asked(engine, other, another) == KeyAnswer("conflict", run.fence.run_id)
    await engine.record(ending(run))
    assert await asked(engine, other, another) == KeyAnswer("conflict", run.fence.run_id)
    await engine.execute("UPDATE aiki.task_keys SET expires_at = now()")
    assert (await asked(engine, other, another)).result == "won"


async def test_keys_of_other_scopes_tasks_and_namespaces_are_other_keys(engine: Engine, database: str) -> None:
    await owner(engine)
    other = await held(engine)
    for fields in ({"scope": "flow"}, {"task": "ship"}, {"key": "l"}):
        assert (await asked(engine, other, ask(**fields))).result == "won"
    abroad = Engine(database, "abroad")
    assert (await asked(abroad, await held(abroad))).result == "won"
    await abroad.pool.aclose()


async def test_a_key_that_is_given_back_is_the_next_ones(engine: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    assert (await asked(engine, other)).result == "waits"
    assert await asked(engine, run, ask("free")) == TAKEN
    assert await engine.execute("SELECT 1 FROM aiki.task_keys") == []
    assert (await asked(engine, other)).result == "won"
    assert (await asked(engine, run)).result == "waits"


async def test_whoever_waits_and_gives_up_leaves_the_line_and_nothing_else_changes(engine: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    assert (await asked(engine, other)).result == "waits"
    assert await asked(engine, other, ask("free")) == TAKEN
    assert await waiters(engine) == []
    assert (await asked(engine, run)).result == "won"
    assert (await asked(engine, other, ask("free", key="nobodys"))) == TAKEN
    assert len(await engine.execute("SELECT 1 FROM aiki.task_keys")) == 1


async def test_nothing_is_written_of_a_unit_that_ends_a_key_that_is_not_its_own(engine: Engine) -> None:
    await owner(engine)
    other, third = await held(engine), await held(engine)
    said = await engine.record(ending(other), unit(third.fence, 0, entry("a")), asking(third, ask(key="l")))
    assert [one.result for one in said] == ["conflict", "done", "done"]
    assert await engine.journal(other.fence.run_id) == []
    assert await engine.execute("SELECT 1 FROM aiki.task_keys WHERE done_at IS NOT NULL") == []
    assert await engine.results(unit(other.fence, 0, entry("b"))) == ["done"]


async def test_what_is_wanted_of_a_key_comes_with_its_unit_or_not_at_all(engine: Engine) -> None:
    session = await engine.session()
    run = await held(engine, session)
    assert (await asked(engine, run)).result == "won"
    (said,) = await engine.record(ending(run, base=3))
    assert (said.result, said.keys) == ("conflict", [])
    await engine.expire(session)
    await engine.rescue()
    (said,) = await engine.record(ending(run))
    assert (said.result, said.keys) == ("fenced", [])
    assert await engine.execute("SELECT 1 FROM aiki.task_keys WHERE done_at IS NOT NULL") == []


async def test_a_result_that_expires_is_nobodys(engine: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    assert (await engine.record(ending(run, keep=0)))[0].keys == [TAKEN]
    assert (await asked(engine, other)).result == "won"
    assert (await engine.record(ending(other, value=b'"paid again"')))[0].keys == [TAKEN]
    (row,) = await engine.execute("SELECT value, expires_at - done_at = interval '60 s', call FROM aiki.task_keys")
    assert row == (b'"paid again"', True, CALL)


async def test_an_owner_that_parks_until_a_retry_keeps_its_key(engine: Engine) -> None:
    run, other = await owner(engine), await held(engine)
    assert await engine.results(unit(run.fence, end=parked(0, "event:approved"))) == ["done"]
    assert (await asked(engine, other)).result == "waits"


async def test_units_that_want_what_cannot_be_wanted_are_refused_and_stop_no_other(engine: Engine) -> None:
    runs = [await held(engine) for _ in range(4)]
    foreign = structs.replace(unit(runs[0].fence, 0, entry("a")), keys=[ask(), ask(scope="another")])
    ends = structs.replace(asking(runs[1]), end=completed())
    bare = asking(runs[2], ask("done"))
    said = await engine.record(foreign, ends, bare, asking(runs[3]))
    assert [result_of(one) for one in said] == [("refused",), ("refused",), ("refused",), ("done", "won")]
    assert "'another'" in (said[0].reason or "")
    assert await engine.journal(runs[0].fence.run_id) == []
    assert await engine.execute("SELECT run_id::text FROM aiki.task_keys") == [(runs[3].fence.run_id,)]
