"""Runs that go to another version of their workflow: what the rule says, whoever has the row first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from aiki.core.states import MOVED, Move, State
from aiki.rules import rerouting
from aiki.rules.standing import PAUSE, Standing
from aiki.wire.codec import encode
from aiki.wire.messages import ClaimReply, End, ImportedFrom, Moved, MoveReply, MoveRuns, Resume, Route
from aikid.engine import control
from aikid.engine import rerouting as engine_of
from aikid.engine.changes import Done
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, entry, locked, new_id, unit
from tests.integration.daemon.standings import Case, found, put

pytestmark = pytest.mark.anyio

NEXT = "2.0"
DUE = 4_000_000_000_000_000
BOTH = [Route(WORKFLOW, VERSION), Route(WORKFLOW, NEXT)]


async def ordered(engine: Engine, *run_ids: str, **given: Any) -> Done[MoveReply]:
    request = MoveRuns(list(run_ids), NEXT, "alice", **given)
    return await engine_of.move(engine.pool, engine.routes, engine.namespace, request)


async def move(engine: Engine, *run_ids: str, **given: Any) -> list[Moved]:
    (reply,) = (await ordered(engine, *run_ids, **given)).replies
    return reply.outcomes


async def claim_of(engine: Engine, session: str, *versions: str) -> ClaimReply:
    return await engine.claim_reply(session, routes=[(WORKFLOW, version) for version in versions])


async def version_of(engine: Engine, run_id: str) -> str:
    return (await engine.status(run_id)).version


async def blocked_run(engine: Engine) -> str:
    run_id = await engine.queued_run()
    end = End(Move.DIVERGE, why="otherwise")
    assert await engine.results(unit((await engine.claim_one()).fence, 0, entry("a"), end=end)) == ["done"]
    return run_id


async def test_who_goes_to_another_version_stands_as_the_rule_says(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    for keep_blocked, looked_at in product((False, True), (None, 0, 1)):
        cases = [
            Case(
                Standing(state, epoch, "claim-1" if epoch else None, crash_count=3 * epoch, wanted=wanted),
                None if state is not State.BLOCKED or not epoch else End(Move.DIVERGE, due_at=None, why="otherwise"),
            )
            for state, epoch in product(State, (0, 1))
            for wanted in ((None, PAUSE) if state is State.RUNNING else (None,))
        ]
        await put(engine, cases)
        numbers = [] if looked_at is None else [looked_at] * len(cases)
        done = await ordered(engine, *(case.id for case in cases), claims=numbers, keep_blocked=keep_blocked)
        outcomes = done.replies[0].outcomes
        for case, outcome, now in zip(cases, outcomes, await found(engine, cases), strict=True):
            before = case.standing
            result = rerouting.judge(before, is_there=False, is_imported=False, is_registered=True, claims=looked_at)
            after = rerouting.moved(before, keep_blocked=keep_blocked) if result == "done" else before
            assert outcome == Moved(result, after.state), case
            assert now.standing == replace(after, due_at=now.standing.due_at), case
            assert now.moves == (0 if result != "done" else 1 + (after.state is not before.state)), case
            assert await version_of(engine, case.id) == (NEXT if result == "done" else VERSION)
        queued = sum(one == Moved("done", State.QUEUED) for one in outcomes)
        assert done.changes.queued[engine.namespace, WORKFLOW, NEXT] == queued


async def test_the_story_says_who_moved_it_from_where_to_where(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await blocked_run(engine)
    assert await move(engine, run_id) == [Moved("done", State.QUEUED)]
    assert await engine.history(run_id) == ["enqueued", "claim", "diverge", MOVED, "resume"]
    told = await engine.execute(
        "SELECT reason, actor FROM aiki.run_history WHERE run_id = %s AND move = 'moved'", run_id
    )
    assert told == [(f"from {VERSION} to {NEXT}", "alice")]
    status = await engine.status(run_id)
    assert (status.state, status.version, status.why) == (State.QUEUED, NEXT, None)


async def test_a_repeat_changes_nothing(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await blocked_run(engine)
    assert await move(engine, run_id, run_id) == [Moved("done", State.QUEUED)] * 2
    assert await move(engine, run_id) == [Moved("done", State.QUEUED)]
    assert (await engine.history(run_id)).count(MOVED) == 1


async def test_a_blocked_run_that_is_kept_so_goes_on_by_the_other_version_when_it_is_resumed(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await blocked_run(engine)
    assert await move(engine, run_id, keep_blocked=True) == [Moved("done", State.BLOCKED)]
    assert (await engine.status(run_id)).why == "otherwise"
    (reply,) = (await control.resume(engine.pool, engine.namespace, Resume([run_id]))).replies
    assert reply.outcomes[0].state is State.QUEUED
    (claimed,) = (await claim_of(engine, await engine.session(routes=BOTH), NEXT)).runs
    assert (claimed.fence.run_id, claimed.version, len(claimed.entries)) == (run_id, NEXT, 1)


async def test_a_version_that_nobody_has_served_is_refused_but_by_force(engine: Engine) -> None:
    run_id, unknown = await engine.queued_run(), new_id()
    await engine.queued_run(version=NEXT)  # it was only enqueued to
    assert await move(engine, run_id, unknown) == [Moved("unregistered", State.QUEUED), Moved("unknown")]
    assert await version_of(engine, run_id) == VERSION
    assert await move(engine, run_id, force=True) == [Moved("done", State.QUEUED)]
    assert await version_of(engine, run_id) == NEXT


async def test_an_imported_run_stays_what_it_is(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await blocked_run(engine)
    origin = encode(ImportedFrom("elsewhere", State.BLOCKED, 1))
    await engine.execute("UPDATE aiki.runs SET imported = %s WHERE id = %s", origin, run_id)
    assert await move(engine, run_id) == [Moved("imported", State.BLOCKED)]
    assert await version_of(engine, run_id) == VERSION


async def test_a_run_of_another_namespace_is_unknown(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await engine.queued_run()
    engine.namespace = "elsewhere"
    assert await move(engine, run_id, force=True) == [Moved("unknown")]


async def test_a_moved_run_ends_and_is_listed_by_its_new_version(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await engine.queued_run()
    await move(engine, run_id)
    (claimed,) = (await claim_of(engine, await engine.session(routes=BOTH), NEXT)).runs
    assert await engine.results(unit(claimed.fence, end=completed())) == ["done"]
    assert await engine.execute("SELECT version FROM aiki.ended WHERE run_id = %s", run_id) == [(NEXT,)]


async def test_a_run_that_was_claimed_since_it_was_looked_at_stays(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await engine.queued_run()
    claimed = await engine.claim_one()
    await engine.record(unit(claimed.fence, 0, entry("a"), end=End(Move.RELEASE)))
    assert await move(engine, run_id, claims=[0]) == [Moved("changed", State.QUEUED)]
    assert await version_of(engine, run_id) == VERSION
    assert await move(engine, run_id, claims=[1]) == [Moved("done", State.QUEUED)]


# -- each meeting with a claim, forced


@pytest.mark.parametrize("versions", [(VERSION,), (VERSION, "0.9")], ids=["one route", "several routes"])
async def test_a_claim_that_has_begun_before_a_move_takes_no_run_that_has_gone(
    engine: Engine, versions: tuple[str, ...]
) -> None:
    await engine.session(routes=BOTH)
    run_id = await engine.queued_run()
    session = await engine.session(routes=[Route(WORKFLOW, version) for version in versions])
    async with locked(engine.database, "SELECT FROM aiki.sessions WHERE id = %s FOR UPDATE", session):
        claiming = asyncio.create_task(claim_of(engine, session, *versions))
        await engine.until_waiting()
        # Its snapshot has the run as one of the old version.
        assert await move(engine, run_id) == [Moved("done", State.QUEUED)]
    assert (await claiming).runs == []
    assert await engine.state(run_id) is State.QUEUED
    (claimed,) = (await claim_of(engine, await engine.session(routes=BOTH), NEXT)).runs
    assert (claimed.fence.run_id, claimed.version) == (run_id, NEXT)


@pytest.mark.parametrize("versions", [(VERSION,), (VERSION, "0.9")], ids=["one route", "several routes"])
async def test_a_claim_passes_by_a_run_that_is_just_being_moved(engine: Engine, versions: tuple[str, ...]) -> None:
    await engine.session(routes=BOTH)
    run_id, other = await engine.queued_run(), await engine.queued_run()
    session = await engine.session(routes=[Route(WORKFLOW, version) for version in versions])
    async with locked(engine.database, "UPDATE aiki.runs SET version = %s WHERE id = %s", NEXT, run_id) as holding:
        claimed = (await claim_of(engine, session, *versions)).runs
        assert [run.fence.run_id for run in claimed] == [other]
        await holding.commit()
    assert await version_of(engine, run_id) == NEXT


async def test_a_move_that_waits_for_a_claim_finds_the_run_taken(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await engine.queued_run()
    claim = "UPDATE aiki.runs SET state = 'running', epoch = 1, claim_id = 'c' WHERE id = %s"
    async with locked(engine.database, claim, run_id) as claiming:
        moving = asyncio.create_task(move(engine, run_id))
        await engine.until_waiting()
        await claiming.commit()
    assert await moving == [Moved("refused", State.RUNNING)]
    assert await version_of(engine, run_id) == VERSION


async def test_of_two_moves_at_once_the_later_stands(engine: Engine) -> None:
    await engine.session(routes=[*BOTH, Route(WORKFLOW, "3.0")])
    run_id = await blocked_run(engine)
    async with locked(engine.database, "SELECT FROM aiki.runs WHERE id = %s FOR UPDATE", run_id):
        first = asyncio.create_task(move(engine, run_id))
        await engine.until_waiting()
        request = MoveRuns([run_id], "3.0", "bob")
        second = asyncio.create_task(engine_of.move(engine.pool, engine.routes, engine.namespace, request))
        await engine.until_waiting(2)
    assert await first == (await second).replies[0].outcomes == [Moved("done", State.QUEUED)]
    assert (await engine.history(run_id))[3:] == [MOVED, "resume", MOVED]


async def test_the_late_end_of_a_claim_whose_run_has_moved_is_known(engine: Engine) -> None:
    await engine.session(routes=BOTH)
    run_id = await engine.queued_run()
    claimed = await engine.claim_one()
    end = unit(claimed.fence, 0, entry("a"), end=End(Move.RELEASE))
    assert await engine.results(end) == ["done"]
    assert await move(engine, run_id) == [Moved("done", State.QUEUED)]
    assert await engine.results(end) == ["done"]
    assert await engine.state(run_id) is State.QUEUED
