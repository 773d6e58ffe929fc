"""A run is born running only for a worker that lives and has leave for it, and never before a run that is queued."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import psycopg
import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import State
from aiki.wire import codec
from aiki.wire.limits import HANDED_BYTES, HANDED_RUNS, MESSAGE_BYTES
from aiki.wire.messages import Enqueue, Fence, HandOver, NewRun, Route
from aiki.wire.packing import MAX_PAYLOAD_LEAST
from aikid.engine import claims
from aikid.engine.changes import Handed
from aikid.engine.leaves import LOOKED_AT, OFFERED_RUNS, Leaves, Line
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, completed, locked, new_run, running_engine, unit
from tests.servers import Postgres
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


async def handed(engine: Engine, *runs: NewRun) -> list[Handed]:
    """Enqueue the runs in one request, and return what goes to workers."""
    return (await engine.carry_out(Enqueue(list(runs)))).changes.handed


async def states(engine: Engine, runs: Sequence[NewRun]) -> str:
    """Return the first letters of the runs' states."""
    return "".join([(await engine.state(run.id))[0] for run in runs])


async def test_a_run_is_born_running_for_a_session_that_has_leave(engine: Engine) -> None:
    session = await engine.session()
    engine.park(session, 1)
    run = new_run(labels={"a": "b"}, key="k", digest="0" * 32, input=Raw(b'{"n":1}'))
    done = await engine.carry_out(Enqueue([run]))
    assert done.changes.queued == {}
    (told,) = done.changes.handed
    (claimed,) = told.runs
    assert (told.line.session, told.first) == (session, 1)
    assert await engine.history(run.id) == ["enqueued", "claim"]
    status = await engine.status(run.id)
    assert (status.state, status.worker, status.attempt) == (State.RUNNING, "worker-1", 1)
    assert await engine.results(unit(claimed.fence, end=completed())) == ["done"]

    # A claim brings the very same.
    again = replace(run, id=new_run().id, options=replace(run.options, key="other"))
    await engine.enqueue(new_run(), again)
    (_, by_claim) = await engine.claim(session)
    same = replace(claimed, fence=by_claim.fence, origin_id=again.id, key="other", started_at=by_claim.started_at)
    assert by_claim == same
    assert claimed.started_at == told.now == (await engine.status(run.id)).started_at


async def test_of_more_runs_than_leaves_the_first_are_handed_over_and_the_rest_are_queued_in_order(
    engine: Engine,
) -> None:
    session = await engine.session()
    engine.park(session, 3)
    runs = [new_run() for _ in range(7)]
    (told,) = await handed(engine, *runs)
    assert [run.fence.run_id for run in told.runs] == [run.id for run in runs[:3]]
    assert await states(engine, runs) == "rrrqqqq"
    assert [run.fence.run_id for run in await engine.claim(session)] == [run.id for run in runs[3:]]


async def test_those_of_higher_priority_are_handed_over_first(engine: Engine) -> None:
    engine.park(await engine.session(), 2)
    runs = [new_run(priority=priority) for priority in (0, 5, 0, 9)]
    await handed(engine, *runs)
    assert await states(engine, runs) == "qrqr"


async def test_no_run_is_handed_over_while_one_of_its_route_is_queued(engine: Engine, rival: Engine) -> None:
    """An older run was queued by another daemon, between the worker's look and the insert."""
    session = await engine.session(routes=[Route(WORKFLOW, VERSION), Route("other", VERSION)])
    engine.park(session, 9, routes=[(WORKFLOW, VERSION), ("other", VERSION)])
    older = await rival.queued_run(priority=-100)
    fresh, other = new_run(priority=100), new_run(workflow="other")
    (told,) = await handed(engine, fresh, other)
    assert [run.fence.run_id for run in told.runs] == [other.id]
    assert await states(engine, [fresh]) == "q"
    assert {run.fence.run_id for run in await engine.claim(session)} == {older, fresh.id}
    assert await handed(engine, new_run()), "the leave was not used up"


async def test_a_run_with_a_date_is_not_handed_over_nor_one_beside_it(engine: Engine) -> None:
    engine.park(await engine.session(), 9)
    runs = [new_run(delay=3_600_000_000), new_run(start_at=1), new_run(delay=0), new_run()]
    assert await handed(engine, *runs) == []
    assert await states(engine, runs) == "sqqq"


@pytest.mark.parametrize("over", ["the leave", "the lease", "the session", "the namespace", "the route"])
async def test_a_leave_holds_for_a_live_session_its_routes_and_its_time_alone(engine: Engine, over: str) -> None:
    """What this daemon believed when it decided is asked again by the statement: it may have been frozen since."""
    session = await engine.session()
    fields: dict[str, Any] = {}
    route = WORKFLOW
    match over:
        case "the leave":
            fields["until"] = (await engine.execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint"))[0][0]
        case "the lease":
            await engine.expire(session)
        case "the session":
            await engine.close(session)
        case "the namespace":
            engine.namespace = "theirs"
        case "the route":
            route = "never-served"
            fields["routes"] = [(route, VERSION)]
    engine.park(session, 5, **fields)
    run = new_run(workflow=route)
    assert await handed(engine, run) == []
    assert await engine.history(run.id) == ["enqueued"]
    assert await states(engine, [run]) == "q"


async def test_a_session_that_is_being_buried_is_not_waited_for(engine: Engine) -> None:
    session = await engine.session()
    engine.park(session, 5)
    run = new_run()
    async with locked(engine.database, "SELECT FROM aiki.sessions WHERE id = %s FOR UPDATE", session):
        assert await handed(engine, run) == []
    assert await states(engine, [run]) == "q"
    await engine.claim(session)
    assert await handed(engine, new_run()) == [], "the session has leave again with its next park"


async def test_a_worker_with_a_suspect_run_gets_no_others_unasked(engine: Engine) -> None:
    session = await engine.session()
    suspect = await engine.queued_run()
    await engine.execute("UPDATE aiki.runs SET crash_count = 2 WHERE id = %s", suspect)
    await engine.claim_one(session)
    engine.park(session, 5)
    assert await handed(engine, new_run()) == []


async def test_where_a_first_leave_does_not_hold_the_others_of_its_route_are_not_used(
    engine: Engine,
) -> None:
    """Else the second run would go before the first, which is queued."""
    dead, live = await engine.session(), await engine.session()
    engine.park(dead, 1, free=20)
    engine.park(live, 5, free=10)
    await engine.expire(dead)
    runs = [new_run(), new_run(), new_run()]
    assert await handed(engine, *runs) == []
    assert await states(engine, runs) == "qqq"


# -- repeats


async def test_a_repeated_enqueue_hands_nothing_over_again(engine: Engine, rival: Engine) -> None:
    session = await engine.session()
    engine.park(session, 5)
    rival.park(session, 5)
    run = new_run()
    assert await handed(engine, run)
    for one in (engine, rival):
        (line,) = one.leaves._lines.values()
        left = line.left
        assert await handed(one, run) == []
        assert line.left == left, "the leave was not used up"
    assert await engine.history(run.id) == ["enqueued", "claim"]


async def test_a_run_that_is_twice_in_one_batch_is_handed_over_once(engine: Engine) -> None:
    engine.park(await engine.session(), 5)
    run = new_run()
    (told,) = await handed(engine, run, run, new_run())
    assert len(told.runs) == 2
    assert told.line.left == 3


@asynccontextmanager
async def commits_unheard_of(postgres: Postgres) -> AsyncIterator[None]:
    """Let commits stand and wait for a standby that never comes: whoever is cut off then does not know of his."""
    postgres.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres.query("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        postgres.query("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.query("SELECT pg_reload_conf()")


async def test_a_run_whose_commit_was_not_heard_of_is_handed_over_by_the_repeat(
    engine: Engine, postgres: Postgres
) -> None:
    session = await engine.session()
    engine.park(session, HANDED_RUNS)

    async def cut_off() -> bool:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        of = "WHERE wait_event = 'SyncRep' AND datname = current_database()"
        return asking.done() or bool(await engine.execute(f"{cut} {of}"))

    async with commits_unheard_of(postgres):
        while True:
            run = new_run()
            asking = asyncio.create_task(handed(engine, run))
            await wait_until(cut_off, what="a commit that waits")
            if not asking.done():
                break
            # The server has not taken the setting up yet.
            (told,) = asking.result()
            told.line.settle(told.first, 1)
            engine.park(session, told.first + HANDED_RUNS, line=told.line.id)
    (told,) = await asking
    (claimed,) = told.runs
    assert await engine.history(run.id) == ["enqueued", "claim"]
    assert claimed.started_at == (await engine.status(run.id)).started_at
    assert claimed.started_at < told.now
    assert await engine.results(unit(claimed.fence, end=completed())) == ["done"]


# -- numbers


async def test_a_park_that_crosses_a_hand_over_promises_nothing_twice(engine: Engine) -> None:
    session = await engine.session()
    line = engine.park(session, 2).line
    (told,) = await handed(engine, new_run(), new_run())
    assert (told.first, len(told.runs)) == (1, 2)
    # Sent before those came to the worker: its number is the same.
    assert engine.park(session, 2, line=line).upto == 2
    waits = new_run()
    assert await handed(engine, waits) == []
    await engine.claim(session)
    assert engine.park(session, 3, line=line).upto == 3
    (told,) = await handed(engine, new_run())
    assert told.first == 3


async def test_a_park_that_was_overtaken_counts_for_nothing(engine: Engine) -> None:
    session = await engine.session()
    line = engine.park(session, 1).line
    engine.park(session, 9, line=line, serial=0)
    (told,) = await handed(engine, new_run(), new_run())
    assert len(told.runs) == 1


async def test_a_leave_that_is_taken_back_while_a_statement_is_under_way_is_answered_when_it_is_over(
    engine: Engine,
) -> None:
    session = await engine.session()
    line = engine.park(session, 4).line
    run = new_run()
    await engine.routes.learn({("default", WORKFLOW, VERSION)})
    # Another enqueue of the same id is about to commit, or not: ours waits for it.
    columns = "id, namespace, workflow, version, state, origin_id, input"
    same = f"INSERT INTO aiki.runs ({columns}) VALUES (%s, %s, %s, %s, 'queued', %s, '')"
    async with locked(engine.database, same, run.id, "default", WORKFLOW, VERSION, run.id):
        asking = asyncio.create_task(handed(engine, run))
        await engine.until_waiting()
        assert engine.park(session, 0, line=line).upto == 1, "one may still come"
        assert await handed(engine, new_run()) == []
        answers = len(engine.answers)
    await asking
    assert [one.upto for one in engine.answers[answers:]] == [1], "the last word, when nothing is under way"


async def test_huge_numbers_are_worth_no_more_than_may_be_on_their_way(engine: Engine) -> None:
    engine.park(await engine.session(), 1 << 62, free=1 << 62)
    (told,) = await handed(engine, *(new_run() for _ in range(40)))
    assert len(told.runs) == HANDED_RUNS
    await engine.execute("DELETE FROM aiki.runs WHERE state = 'queued'")
    assert await handed(engine, new_run()) == []
    await engine.execute("DELETE FROM aiki.runs WHERE state = 'queued'")
    told.line.settle(told.first, 10)
    engine.park(told.line.session, 1 << 62, line=told.line.id)
    (further,) = await handed(engine, *(new_run() for _ in range(40)))
    assert (further.first, len(further.runs)) == (HANDED_RUNS + 1, 10)


async def test_inputs_that_are_large_together_are_several_hand_overs(engine: Engine) -> None:
    engine.park(await engine.session(), 9)
    large = Raw(b'"' + b"x" * (HANDED_BYTES // 3) + b'"')
    told = await handed(engine, *(new_run(input=large) for _ in range(5)))
    assert [(one.first, len(one.runs)) for one in told] == [(1, 2), (3, 2), (5, 1)]
    assert len({run.fence.claim_id for one in told for run in one.runs}) == 3


async def test_hand_overs_fit_what_a_narrow_server_takes(engine: Engine) -> None:
    """One that is refused costs its runs two commits more."""
    engine.room = MAX_PAYLOAD_LEAST
    engine.park(await engine.session(), 9)
    large = Raw(b'"' + b"x" * 9_000 + b'"')
    told = await handed(engine, *(new_run(input=large) for _ in range(8)))
    assert sum(len(one.runs) for one in told) == 8
    for one in told:
        assert len(codec.encode(HandOver(one.line.id, one.first, one.line.session, one.now, one.runs))) <= engine.room


async def test_two_daemons_hand_over_to_one_worker_at_once_each_what_it_has_leave_for(
    engine: Engine, rival: Engine
) -> None:
    session = await engine.session()
    lines = {one: one.park(session, upto).line for one, upto in ((engine, 3), (rival, 2))}
    both = await asyncio.gather(*(handed(one, *(new_run() for _ in range(5))) for one in lines))
    for one, told, leave in zip(lines, both, (3, 2), strict=True):
        assert sum(len(hand.runs) for hand in told) <= leave
        assert {hand.line.id for hand in told} <= {lines[one]}


async def test_the_worker_with_more_free_slots_gets_the_run_and_among_equals_chance_decides(engine: Engine) -> None:
    busy, *equal = [await engine.session() for _ in range(4)]
    engine.park(busy, HANDED_RUNS, free=5)
    for session in equal:
        engine.park(session, HANDED_RUNS, free=25)
    chosen: dict[str, int] = {}
    for _ in range(30):
        (told,) = await handed(engine, new_run())
        told.line.settle(told.first, 1)
        chosen[told.line.session] = chosen.get(told.line.session, 0) + 1
    assert busy not in chosen
    assert set(chosen.values()) == {10}, "each has the most free slots in turn"


def calls_of(function: Any, work: Callable[[], object]) -> int:
    """Return how often `work` calls the function."""
    calls = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code is function.__code__

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


async def test_of_a_crowd_of_workers_only_some_are_looked_at_and_each_has_its_turn(engine: Engine) -> None:
    """All namespaces wait while one daemon chooses."""
    crowd = [str(uuid.uuid4()) for _ in range(500)]
    routes = [(f"flow-{n}", VERSION) for n in range(50)]
    for session in crowd:
        engine.park(session, 16, routes=routes)
    rows = [("default", new_run(workflow=workflow)) for workflow, _ in routes]
    chosen = []
    assert calls_of(
        vars(Line)["left"].fget, lambda: chosen.append(engine.leaves.offer(rows, room=MESSAGE_BYTES))
    ) <= len(rows) * (LOOKED_AT + 1)
    assert len(chosen[0]) == len(rows)
    met: set[str] = set()
    for _ in range(len(crowd) // LOOKED_AT + 1):
        met.update(offer.line.session for offer in engine.leaves.offer(rows[:1], room=MESSAGE_BYTES))
    assert len(met) == len(crowd) // LOOKED_AT + 1


async def test_of_a_large_batch_the_first_are_handed_over_and_the_rest_are_left_to_claims(engine: Engine) -> None:
    for _ in range(20):
        engine.park(await engine.session(), HANDED_RUNS)
    runs = [new_run(priority=int(place >= 150)) for place in range(300)]
    await handed(engine, *runs)
    assert await states(engine, runs) == "q" * 150 + "r" * OFFERED_RUNS + "q" * (150 - OFFERED_RUNS)


# -- strangers


async def test_a_namespace_has_half_of_the_lines_and_what_is_no_session_has_none(engine: Engine) -> None:
    engine.leaves = Leaves(lambda line: engine.answers.append(line.answer()), limit=4)
    for n in range(2):
        engine.park(f"00000000-0000-0000-0000-00000000000{n}")
    answers = len(engine.answers)
    session = await engine.session()
    engine.park(session)
    assert len(engine.answers) == answers, "no room"
    async with running_engine(engine.database, "theirs") as theirs:
        theirs.leaves = engine.leaves
        theirs.answers = engine.answers
        theirs.park(session)
        assert len(engine.answers) == answers + 1
        theirs.park("no uuid")
    assert len(engine.answers) == answers + 1


async def test_a_statement_with_leaves_waits_for_no_renewal_and_holds_none_up(engine: Engine) -> None:
    session = await engine.session()
    engine.park(session, 5)
    async with locked(engine.database, "SELECT FROM aiki.sessions WHERE id = %s FOR NO KEY UPDATE", session):
        assert await handed(engine, new_run())
    async with await psycopg.AsyncConnection.connect(engine.database) as connection:
        await connection.execute("SELECT FROM aiki.sessions WHERE id = %s FOR KEY SHARE", [session])
        assert (await engine.renew(session)).alive


async def test_what_nobody_hears_of_is_found_by_the_next_renewal(engine: Engine) -> None:
    session = await engine.session()
    engine.park(session, 5)
    (told,) = await handed(engine, new_run())
    await engine.execute("UPDATE aiki.runs SET last_claimed_at = now() - interval '11 s'")
    fence = told.runs[0].fence
    assert (await engine.renew(session)).unlisted == [Fence(fence.run_id, 1, fence.claim_id)]
    assert (await engine.renew(session, fence.claim_id)).unlisted == []


async def test_a_run_that_was_handed_to_nobody_is_as_if_it_had_not_been_claimed(engine: Engine) -> None:
    engine.park(await engine.session(), 5)
    (told,) = await handed(engine, new_run())
    fence = told.runs[0].fence
    assert (await claims.take_back(engine.pool, told)).queued
    run = await engine.status(fence.run_id)
    assert (run.state, run.claims, run.started_at) == (State.QUEUED, 0, None)
    assert await engine.results(unit(fence, end=completed())) == ["fenced"], "whoever has heard of it after all"
    claimed = await engine.claim_one()
    assert (claimed.fence.run_id, claimed.claims) == (fence.run_id, 1)
