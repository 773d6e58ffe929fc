"""A run with a timeout ends: whoever runs it or nobody does, whether aikid is there or not, and only once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product
from typing import Any

import msgspec
import psycopg
import pytest

from aiki.core.states import Move, State
from aiki.rules.deadlines import GRACE_SECONDS, Deadline, Step, passed, step
from aiki.rules.standing import Standing
from aiki.wire.messages import End, Enqueue, Failure, Fence, Pause, Resume
from aikid.engine import control, timers
from aikid.engine.deadlines import pass_due
from aikid.store import deadlines
from aikid.store.pool import Connection
from tests.integration.daemon.asking import running_app
from tests.integration.daemon.engine import Engine, completed, entry, locked, new_run, unit
from tests.integration.daemon.standings import Case, found, put
from tests.servers import Nats
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000
PASSED = "UPDATE aiki.deadlines SET at = at - interval '2 h', look_at = look_at - interval '2 h'"


async def timed_run(engine: Engine, **options: Any) -> str:
    """Return a run whose timeout is an hour."""
    return await engine.queued_run(**({"timeout": HOUR} | options))


async def pass_time(engine: Engine) -> dict[str, Step]:
    """Let two hours pass for all deadlines; return what they did."""
    await engine.execute(PASSED)
    return await engine.pass_deadlines()


async def told_run(engine: Engine, **options: Any) -> Fence:
    """Return the claim of a run that was told that its deadline has passed."""
    run_id = await timed_run(engine, **options)
    fence = (await engine.claim_one()).fence
    assert await pass_time(engine) == {run_id: Step.TELL}
    return fence


async def failure(engine: Engine, run_id: str) -> Failure:
    return msgspec.json.decode((await engine.status(run_id)).error, type=Failure)


@asynccontextmanager
async def passing(engine: Engine) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Hold a commit of the waker's that has done all else."""
    async with await psycopg.AsyncConnection.connect(engine.database) as connection:
        assert await deadlines.pass_due(connection, limit=500)
        yield connection
        await connection.commit()


CANCELS = ((None, False), (1, False), (1, True))
"""The number of the arrival that told a run to end, and whether it has been delivered."""
GRACES = ((False, False), (True, False), (True, True))
"""Whether the options say how long a run may take to end, and whether that is a cancel's."""


async def test_what_a_deadline_does_is_what_the_rule_says(engine: Engine) -> None:
    cases = []
    for state, (epoch, entries), (cancel_seq, is_taken), told_seq, (has_grace, is_cancel) in product(
        State, ((0, []), (0, [entry("a")]), (1, []), (1, [entry("a")])), CANCELS, (None, 0, 1), GRACES
    ):
        if told_seq is not None and cancel_seq is None:
            continue  # whoever was told has been
        if is_cancel and told_seq != cancel_seq:
            continue  # it is the cancel that told it
        last = None if state is State.RUNNING or not epoch else End(Move.SLEEP, due_at=7)
        case = Case(Standing(state, epoch, "claim-1" if epoch else None, news=cancel_seq or 0), last, entries)
        cases.append((case, Deadline(told_seq, cancel_seq, is_taken, has_grace, is_cancel)))
    await put(engine, [case for case, _ in cases])
    for case, deadline in cases:
        await engine.execute(
            "WITH told AS (UPDATE aiki.runs SET cancel_seq = %s, news_seq = coalesce(%s, 0) WHERE id = %s),"
            " arrived AS (INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, value, taken_seq)"
            "   SELECT %s, number, gen_random_uuid(), 1, 'cancel', '', '{}', %s"
            "   FROM unnest(ARRAY[%s::bigint]) AS number WHERE number IS NOT NULL)"
            " INSERT INTO aiki.deadlines (run_id, at, grace, told_seq, look_at)"
            " VALUES (%s, CASE WHEN %s THEN now() END, CASE WHEN %s THEN interval '1 h' END, %s, now())",
            *(deadline.cancel_seq, deadline.cancel_seq, case.id),
            *(case.id, 1 if deadline.is_taken else None, deadline.cancel_seq),
            *(case.id, not deadline.is_cancel, deadline.has_grace, deadline.told_seq),
        )
    done = await engine.pass_deadlines() | await engine.pass_deadlines()
    news = dict(await engine.execute("SELECT id::text, news_seq FROM aiki.runs"))
    for (case, deadline), now in zip(cases, await found(engine, [case for case, _ in cases]), strict=True):
        expected, after = step(case.standing, deadline), passed(case.standing, deadline)
        stands = replace(now.standing, news=news[case.id])
        assert (done.pop(case.id), stands) == (expected, after), (case, deadline)
        is_told = expected in (Step.TELL, Step.NOTE)
        assert now.moves == (is_told or after.state is not case.standing.state), (case, deadline)
    assert not done
    assert await engine.pass_deadlines() == {}, "each is looked at when there is something to see"


async def test_a_look_at_which_no_deadline_has_passed_tells_of_nothing(engine: Engine) -> None:
    await engine.queued_run(timeout=60_000_000)
    assert [changes async for changes in pass_due(engine.pool)] == []


async def test_a_run_that_nobody_took_up_fails_at_its_deadline(engine: Engine) -> None:
    run_id = await timed_run(engine)
    assert await engine.pass_deadlines() == {}
    assert await pass_time(engine) == {run_id: Step.END}
    assert await engine.history(run_id) == ["enqueued", "time_out"]
    assert await engine.claim(await engine.session()) == []
    error = await failure(engine, run_id)
    assert error.type == "RunTimedOut"
    assert error.message.endswith("before a worker had taken it up")


async def test_a_run_that_has_begun_is_told_and_one_that_rests_is_queued(engine: Engine) -> None:
    ids = [await timed_run(engine) for _ in range(3)]
    session = await engine.session()
    fences = {run.fence.run_id: run.fence for run in await engine.claim(session)}
    ends = [End(Move.SLEEP, due_at=HOUR * 1_000_000), End(Move.RETRY, due_at=HOUR * 1_000_000), None]
    await engine.record(*(unit(fences[i], end=end) for i, end in zip(ids, ends, strict=True)))
    assert await pass_time(engine) == dict.fromkeys(ids, Step.TELL)
    assert [await engine.state(run_id) for run_id in ids] == [State.QUEUED, State.QUEUED, State.RUNNING]
    assert await engine.history(ids[0]) == ["enqueued", "claim", "sleep", "due"]
    rows = await engine.execute("SELECT run_id::text, number, kind, value, at_us, taken_seq FROM aiki.inbox")
    assert {row[0] for row in rows} == set(ids)
    assert {row[1:4] for row in rows} == {(1, "cancel", b'{"reason":"timeout"}')}
    seen = "SELECT id::text, (extract(epoch FROM news_at) * 1000000)::bigint, cancel_seq, unread FROM aiki.runs"
    assert {row[0]: row[1:] for row in await engine.execute(seen)} == {row[0]: (row[4], 1, 0) for row in rows}
    assert await engine.results(unit(fences[ids[2]], 0, entry("a"), end=completed())) == ["done"]


async def test_who_does_not_hear_of_its_deadline_ends_without_compensation(engine: Engine) -> None:
    fence = await told_run(engine)
    assert await engine.pass_deadlines() == {}
    assert await pass_time(engine) == {fence.run_id: Step.END}
    assert await engine.results(unit(fence, 0, entry("a"), end=completed())) == ["fenced"]
    assert (await failure(engine, fence.run_id)).message.endswith("ended without compensation")
    reasons = await engine.execute("SELECT reason FROM aiki.run_history WHERE move = 'time_out'")
    assert [reason.endswith("ended without compensation") for (reason,) in reasons] == [True]


@pytest.mark.parametrize(("options", "then"), [({}, Step.LEAVE), ({"cancel_timeout": HOUR}, Step.END)])
async def test_who_heard_of_it_has_the_time_that_its_options_give(
    engine: Engine, options: dict[str, int], then: Step
) -> None:
    fence = await told_run(engine, **options)
    await engine.execute("UPDATE aiki.inbox SET taken_seq = 1")
    assert await pass_time(engine) == {fence.run_id: then}
    assert await engine.state(fence.run_id) is (State.RUNNING if then is Step.LEAVE else State.FAILED)


async def test_the_grace_begins_when_the_run_is_told(engine: Engine) -> None:
    """Not at the deadline: aikid may have been down since, and workers with it."""
    ids = [await timed_run(engine), await timed_run(engine, cancel_timeout=HOUR * 5)]
    await engine.claim(await engine.session())
    assert await pass_time(engine) == dict.fromkeys(ids, Step.TELL)
    rows = await engine.execute("SELECT extract(epoch FROM look_at - now())::float8 FROM aiki.deadlines ORDER BY 1")
    for (left,), seconds in zip(rows, (GRACE_SECONDS, 5 * 3600), strict=True):
        assert seconds - patient(20) < left <= seconds


async def test_a_blocked_run_ends_at_its_deadline(engine: Engine) -> None:
    run_id = await timed_run(engine)
    await engine.results(unit((await engine.claim_one()).fence, end=End(Move.DIVERGE, why="otherwise")))
    assert await pass_time(engine) == {run_id: Step.END}
    assert (await failure(engine, run_id)).message.endswith("while it was blocked")
    assert (await engine.status(run_id)).why is None


async def test_a_run_that_was_cancelled_before_is_not_told_again(engine: Engine) -> None:
    run_id = await timed_run(engine)
    fence = (await engine.claim_one()).fence
    await engine.execute("UPDATE aiki.runs SET news_seq = 1, cancel_seq = 1")
    assert await pass_time(engine) == {run_id: Step.NOTE}
    assert await engine.execute("SELECT FROM aiki.inbox") == []
    assert await pass_time(engine) == {run_id: Step.END}, "nobody heard of that either"
    assert await engine.results(unit(fence, end=completed())) == ["fenced"]


async def test_the_worker_that_holds_a_run_is_told_at_once(engine: Engine) -> None:
    session = await engine.session()
    held, queued = await timed_run(engine), await timed_run(engine)
    fences = {run.fence.run_id: run.fence for run in await engine.claim(session)}
    await engine.results(unit(fences[queued], end=End(Move.RELEASE)))
    await engine.execute(PASSED)
    (changes,) = [changes async for changes in pass_due(engine.pool)]
    assert changes.told == {(engine.namespace, session): [(held, 1)]}
    assert changes.queued == {(engine.namespace, "flow", "1.0"): 1}
    assert set(changes.changed[engine.namespace]) == {held, queued}


# -- once (P4): who holds the row decides


async def test_an_end_that_is_being_committed_is_not_overtaken(engine: Engine) -> None:
    fence = await told_run(engine)
    await engine.execute(PASSED)
    done = "UPDATE aiki.runs SET state = 'completed', finished_at = now(), session_id = NULL WHERE id = %s"
    async with locked(engine.database, done, fence.run_id) as completing:
        assert await engine.pass_deadlines() == {}
        await completing.commit()
    assert await engine.pass_deadlines() == {fence.run_id: Step.LEAVE}
    assert await engine.state(fence.run_id) is State.COMPLETED


async def test_a_completion_that_waits_for_the_deadlines_commit_is_fenced(engine: Engine) -> None:
    fence = await told_run(engine)
    await engine.execute(PASSED)
    async with passing(engine):
        recording = asyncio.create_task(engine.results(unit(fence, 0, entry("a"), end=completed())))
        await engine.until_waiting()
    assert await recording == ["fenced"]
    assert await engine.state(fence.run_id) is State.FAILED
    assert await engine.journal(fence.run_id) == []
    assert await engine.execute("SELECT count(*) FROM aiki.ended") == [(1,)]


async def test_a_run_that_is_being_claimed_is_told_and_not_ended(engine: Engine) -> None:
    run_id = await timed_run(engine)
    await engine.execute(PASSED)
    claim = "UPDATE aiki.runs SET state = 'running', epoch = 1, claim_id = 'c', history_seq = 1 WHERE id = %s"
    async with locked(engine.database, claim, run_id) as claiming:
        assert await engine.pass_deadlines() == {}
        await claiming.commit()
    assert await engine.pass_deadlines() == {run_id: Step.TELL}
    assert await engine.state(run_id) is State.RUNNING


async def test_a_run_that_its_deadline_is_ending_is_not_claimed(engine: Engine) -> None:
    run_id = await timed_run(engine)
    session = await engine.session()
    await engine.execute(PASSED)
    async with passing(engine):
        assert await engine.claim(session) == []
    assert await engine.claim(session) == []
    assert await engine.state(run_id) is State.FAILED


async def test_of_two_daemons_each_passes_what_the_other_does_not(engine: Engine, rival: Engine) -> None:
    first, second = await timed_run(engine), await timed_run(engine)
    await engine.execute(PASSED)
    async with locked(engine.database, "SELECT FROM aiki.deadlines WHERE run_id = %s FOR UPDATE", first):
        assert await rival.pass_deadlines() == {second: Step.END}
    assert await engine.pass_deadlines() == {first: Step.END}
    assert await rival.pass_deadlines() == {}


async def test_no_plan_of_the_waker_reads_a_table_whole(engine: Engine) -> None:
    async def explain(connection: Connection) -> list[str]:
        found = await connection.execute(f"EXPLAIN (COSTS OFF) {deadlines.PASS}".encode(), (500,))
        return [line for (line,) in await found.fetchall()]

    plan = await engine.pool.run(explain)
    assert not [line for line in plan if "Seq Scan" in line or "hashed" in line]
    scans = [n for n, line in enumerate(plan) if "Index" in line and " using " in line]
    assert len(scans) > 4
    assert [plan[n] for n in scans if "Index Cond" not in plan[n + 1]] == []


# -- a pause


async def test_a_paused_run_is_told_when_it_is_resumed_and_one_that_has_not_begun_ends_then(engine: Engine) -> None:
    begun, new = await timed_run(engine, priority=1), await timed_run(engine)
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, end=End(Move.RELEASE))) == ["done"]
    await control.pause(engine.pool, engine.namespace, Pause([begun, new]))
    assert await pass_time(engine) == {begun: Step.HOLD, new: Step.HOLD}
    assert await engine.pass_deadlines() == {}, "whatever is paused costs no look"
    await control.resume(engine.pool, engine.namespace, Resume([begun, new]))
    assert await engine.pass_deadlines() == {begun: Step.TELL, new: Step.END}


async def test_the_grace_of_a_run_that_is_paused_begins_anew_when_it_is_resumed(engine: Engine) -> None:
    fence = await told_run(engine)
    await engine.results(unit(fence, end=End(Move.RELEASE)))
    await control.pause(engine.pool, engine.namespace, Pause([fence.run_id]))
    assert await pass_time(engine) == {fence.run_id: Step.HOLD}
    await control.resume(engine.pool, engine.namespace, Resume([fence.run_id]))
    assert await engine.pass_deadlines() == {}
    assert await pass_time(engine) == {fence.run_id: Step.END}


async def test_a_resume_that_meets_the_waker_is_seen_by_the_next_look(engine: Engine) -> None:
    """It reads the deadline as it was before the waker took note of the pause."""
    fence = await told_run(engine)
    await engine.results(unit(fence, end=End(Move.RELEASE)))
    await control.pause(engine.pool, engine.namespace, Pause([fence.run_id]))
    await engine.execute(PASSED)
    async with passing(engine):
        resuming = asyncio.create_task(control.resume(engine.pool, engine.namespace, Resume([fence.run_id])))
        await engine.until_waiting()
    await resuming
    assert await engine.execute("SELECT look_at IS NOT NULL FROM aiki.deadlines") == [(True,)]


async def test_a_pause_that_meets_the_waker_holds_the_next_step(engine: Engine) -> None:
    run_id = await timed_run(engine)
    await engine.execute(PASSED)
    async with passing(engine):
        pausing = asyncio.create_task(control.pause(engine.pool, engine.namespace, Pause([run_id])))
        await engine.until_waiting()
    await pausing
    assert await engine.state(run_id) is State.FAILED, "the waker was first"
    other = await timed_run(engine)
    await engine.execute(PASSED)
    pause = "UPDATE aiki.runs SET state = 'paused', history_seq = history_seq + 1 WHERE id = %s"
    async with locked(engine.database, pause, other) as paused:
        assert await engine.pass_deadlines() == {}
        await paused.commit()
    assert await engine.pass_deadlines() == {other: Step.HOLD}


# -- where deadlines come from


async def test_a_deadline_counts_from_when_the_run_may_start(engine: Engine) -> None:
    done = await engine.carry_out(Enqueue([new_run(timeout=HOUR), new_run(timeout=HOUR, delay=HOUR), new_run()]))
    (born,) = done.changes.born
    statuses = [await engine.status(run.id) for run in born.calls[0][1].runs]
    assert [None if one.deadline is None else one.deadline - born.now for one in statuses] == [HOUR, 2 * HOUR, None]
    assert done.changes.due_seconds == pytest.approx(3600)


async def test_the_waker_looks_when_the_first_deadline_passes(engine: Engine) -> None:
    assert await timers.seconds_to_next(engine.pool) is None
    await timed_run(engine, delay=HOUR)
    await timed_run(engine, timeout=HOUR // 2)
    left = await timers.seconds_to_next(engine.pool)
    assert left is not None
    assert 1800 - patient(20) < left <= 1800


async def test_a_run_that_is_handed_over_has_its_deadline(engine: Engine) -> None:
    engine.park(await engine.session(), 1)
    run_id = await timed_run(engine)
    assert await engine.state(run_id) is State.RUNNING
    assert await pass_time(engine) == {run_id: Step.TELL}


async def test_a_repeated_enqueue_changes_no_deadline(engine: Engine) -> None:
    run = new_run(timeout=HOUR)
    await engine.enqueue(run)
    before = (await engine.status(run.id)).deadline
    (again,) = await engine.enqueue(run)
    assert again.id == run.id
    assert (await engine.status(run.id)).deadline == before


async def test_a_deadline_that_passed_while_aikid_was_down_is_found_when_it_is_back(
    engine: Engine, database: str, nats: Nats
) -> None:
    run_id = await timed_run(engine)
    await engine.execute(PASSED)
    async with running_app(database, nats.url):
        await wait_until(lambda: has_failed(engine, run_id), what="the deadline is not found")


async def test_a_timeout_of_a_moment_takes_a_moment(engine: Engine, database: str, nats: Nats) -> None:
    async with running_app(database, nats.url):
        run_id = await timed_run(engine, timeout=50_000)
        await wait_until(lambda: has_failed(engine, run_id), what="the deadline is not found")
    late = "SELECT extract(epoch FROM finished_at - created_at)::float8 FROM aiki.runs"
    assert (await engine.execute(late))[0][0] < patient(1.5)


async def has_failed(engine: Engine, run_id: str) -> bool:
    return await engine.state(run_id) is State.FAILED
