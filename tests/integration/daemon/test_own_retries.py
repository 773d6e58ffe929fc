"""A run whose body has failed is tried again by its own rule: in the commit that ends its claim, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from aiki.core.states import Move, State
from aiki.rules.histories import read
from aiki.wire.codec import encode
from aiki.wire.messages import (
    NULL,
    Attempt,
    Cancel,
    Claimed,
    End,
    Entry,
    Failure,
    Pause,
    RecordReply,
    Resume,
    Retried,
    Unit,
)
from aikid.engine import control
from tests.integration.daemon.engine import Engine, entry, event, locked, unit
from tests.integration.daemon.family import done, ends, over, parent_of, start, starting
from tests.integration.daemon.retrying import failed, outcome, retried

pytestmark = pytest.mark.anyio

DUE = 4_000_000_000_000_000
A, B = outcome("a", asked=0), outcome("b", asked=1)
BAD = outcome("bad", asked=1, ok=False)
ERROR = Failure("ValueError", "no")


def behind(run: Claimed, base: int, *entries: Entry, cut: int, attempt: int = 2, **fields: Any) -> Unit:
    """Return the unit of a body that the entry behind the cut has failed, and that is to go on from there."""
    said: dict[str, Any] = {"key": "task:bad:d:1", "run_id": run.fence.run_id, "of": run.fence.run_id}
    value = Retried(cut, attempt, DUE, **(said | fields))
    last = Entry(f"retry:{attempt}", True, Raw(encode(value)), DUE)
    error = Raw(encode(msgspec.structs.replace(ERROR, cut=cut + 1)))
    end = End(Move.AGAIN, error=error, due_at=DUE, why=f"attempt {attempt - 1} failed")
    return unit(run.fence, base, *entries, last, end=end)


def anew(run: Claimed, base: int, *entries: Entry) -> Unit:
    """Return the unit of a body that has failed, and is to begin anew."""
    end = End(Move.AGAIN, error=Raw(encode(ERROR)), due_at=DUE, why="attempt 1 failed", anew=True)
    return unit(run.fence, base, *entries, end=end)


async def cancel(engine: Engine, run_id: str) -> None:
    await control.cancel(engine.pool, engine.namespace, Cancel([run_id]))


async def held(engine: Engine, **fields: Any) -> Claimed:
    await engine.queued_run(**fields)
    return await engine.claim_one()


async def next_claim(engine: Engine, run: Claimed) -> Claimed:
    """Return the claim under which the run is tried again, whenever that is due."""
    await engine.execute("UPDATE aiki.runs SET due_at = now() WHERE id = %s", run.fence.run_id)
    assert await engine.wake() == [run.fence.run_id]
    return await engine.claim_one()


async def test_a_run_goes_on_from_its_failure_in_itself(engine: Engine) -> None:
    run = await held(engine)
    assert await engine.results(behind(run, 0, A, BAD, cut=1)) == ["done"]
    status = await engine.status(run.fence.run_id)
    assert (status.state, status.attempt, status.due_at, status.why) == (State.RETRYING, 2, DUE, "attempt 1 failed")
    assert msgspec.json.decode(status.error, type=Failure).message == "no"
    assert status.tasks == 1, "what does not count is not counted"
    again = await next_claim(engine, run)
    assert (again.attempt, again.generation, again.claims) == (2, 0, 2)
    assert [one.key for one in again.entries] == [A.key, BAD.key, "retry:2"]
    assert read(again.entries).entries == [A]
    assert await engine.history(run.fence.run_id) == ["enqueued", "claim", "again", "due", "claim"]


async def test_a_repeat_of_the_unit_is_known(engine: Engine) -> None:
    run = await held(engine)
    last = behind(run, 0, A, BAD, cut=1)
    assert await engine.results(last) == ["done"]
    assert await engine.results(last) == ["done"]
    assert (await engine.status(run.fence.run_id)).attempt == 2
    again = await next_claim(engine, run)
    assert await engine.results(last) == ["fenced"]
    assert await engine.results(unit(again.fence, 3, BAD)) == ["done"]


async def test_a_second_failure_is_cut_by_what_counts(engine: Engine) -> None:
    run = await held(engine)
    await engine.results(behind(run, 0, A, BAD, cut=1))
    again = await next_claim(engine, run)
    assert await engine.results(behind(again, 3, BAD, cut=1, attempt=3)) == ["done"]
    last = await next_claim(engine, run)
    assert (last.attempt, read(last.entries).entries) == (3, [A])


async def test_events_that_were_taken_behind_the_cut_are_unread_again_in_their_order(engine: Engine) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    for name in ("first", "second", "third"):
        await engine.send(event(run_id, value=encode(name)))
    taken = [
        msgspec.structs.replace(outcome(str(number), asked=number - 1), takes=(number,), key=f"event:e:d:{number}")
        for number in (1, 2)
    ]
    assert await engine.results(behind(run, 0, taken[0], BAD, taken[1], cut=1)) == ["done"]
    assert (await engine.status(run_id)).unread == 2
    again = await next_claim(engine, run)
    assert [(one.number, bytes(one.value)) for one in again.arrivals] == [(2, b'"second"'), (3, b'"third"')]
    assert await engine.results(unit(again.fence, 4, msgspec.structs.replace(taken[1], asked=0))) == ["done"]
    assert (await engine.status(run_id)).unread == 1


@pytest.mark.parametrize("base", [0, 2], ids=["in the last unit", "before it"])
async def test_a_run_that_has_taken_something_back_fails(engine: Engine, base: int) -> None:
    run = await held(engine)
    refund = outcome("refund", asked=2)
    if base:
        await engine.results(unit(run.fence, 0, A, BAD))
    said = behind(run, base, *[A, BAD][base:], refund, cut=1)
    assert await engine.results(said) == ["done"]
    status = await engine.status(run.fence.run_id)
    assert (status.state, status.attempt) == (State.FAILED, 1)
    assert status.why is not None
    assert status.why.startswith("not tried again: ")
    assert "has completed refund" in status.why
    assert [key for _, key, _ in await engine.journal(run.fence.run_id)] == [A.key, BAD.key, refund.key]
    assert await engine.history(run.fence.run_id) == ["enqueued", "claim", "fail"]


async def test_a_task_that_may_not_begin_twice_is_not_tried_again(engine: Engine) -> None:
    run = await held(engine)
    await engine.results(unit(run.fence, 0, A, attempts=[Attempt(BAD.key, 1, NULL)]))
    assert await engine.results(behind(run, 1, BAD, cut=1)) == ["done"]
    status = await engine.status(run.fence.run_id)
    assert status.state is State.FAILED
    assert "may not begin bad twice" in (status.why or "")


async def test_others_of_the_batch_are_written_though_one_is_not_tried_again(engine: Engine) -> None:
    refused, fine, other = [await held(engine) for _ in range(3)]
    refund = outcome("refund", asked=2)
    units = [behind(refused, 0, A, BAD, refund, cut=1), behind(fine, 0, A, BAD, cut=1), unit(other.fence, 0, A)]
    assert await engine.results(*units) == ["done", "done", "done"]
    states = [await engine.state(run.fence.run_id) for run in (refused, fine, other)]
    assert states == [State.FAILED, State.RETRYING, State.RUNNING]


async def test_a_run_that_is_to_end_is_not_tried_again(engine: Engine) -> None:
    run = await held(engine)
    await cancel(engine, run.fence.run_id)
    assert await engine.results(behind(run, 0, BAD, cut=0)) == ["done"]
    status = await engine.status(run.fence.run_id)
    assert (status.state, status.why) == (State.FAILED, "not tried again: it is to end")


async def test_a_cancel_that_waits_for_the_retry_wakes_the_run(engine: Engine) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    going_on = "UPDATE aiki.runs SET state = 'retrying', session_id = NULL, attempt = 2, due_at = %s WHERE id = %s"
    async with locked(engine.database, going_on, "2100-01-01", run_id) as other:
        cancelling = asyncio.create_task(cancel(engine, run_id))
        await engine.until_waiting()
        await other.commit()
        await cancelling
    assert await engine.state(run_id) is State.QUEUED
    assert [one.kind for one in (await engine.claim_one()).arrivals] == ["cancel"]


async def test_a_failure_that_waits_for_a_cancel_is_not_tried_again(engine: Engine) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    cancelled = "UPDATE aiki.runs SET cancel_seq = news_seq + 1, news_seq = news_seq + 1 WHERE id = %s"
    async with locked(engine.database, cancelled, run_id) as other:
        recording = asyncio.create_task(engine.results(behind(run, 0, BAD, cut=0)))
        await engine.until_waiting()
        await other.commit()
        assert await recording == ["done"]
    assert await engine.state(run_id) is State.FAILED


async def test_an_event_that_waits_for_the_retry_is_read_by_it(engine: Engine) -> None:
    run = await held(engine)
    run_id = run.fence.run_id
    async with locked(engine.database, "SELECT FROM aiki.runs WHERE id = %s FOR UPDATE", run_id) as other:
        recording = asyncio.create_task(engine.results(behind(run, 0, BAD, cut=0)))
        await engine.until_waiting()
        sending = asyncio.create_task(engine.send(event(run_id)))
        await engine.until_waiting(2)
        await other.commit()
        assert await recording == ["done"]
        assert [one.result for one in await sending] == ["taken"]
    assert [one.name for one in (await next_claim(engine, run)).arrivals] == ["approved"]


async def test_a_pause_that_is_wanted_holds_the_retry(engine: Engine) -> None:
    run = await held(engine)
    await engine.execute("UPDATE aiki.runs SET wanted = 'pause' WHERE id = %s", run.fence.run_id)
    assert await engine.results(behind(run, 0, BAD, cut=0)) == ["done"]
    status = await engine.status(run.fence.run_id)
    assert (status.state, status.attempt) == (State.PAUSED, 2)


async def test_a_run_begins_anew_in_a_generation_of_its_own(engine: Engine) -> None:
    run = await held(engine, key="k", digest="0" * 32, priority=3)
    run_id = run.fence.run_id
    for name in ("first", "second"):
        await engine.send(event(run_id, value=encode(name)))
    taking = msgspec.structs.replace(A, key="event:e:d:1", takes=(1,))
    last = anew(run, 0, taking, BAD)
    assert await engine.results(last) == ["done"]
    assert await engine.results(last) == ["done"], "a repeat is known"
    status = await engine.status(run_id)
    assert (status.state, status.attempt, status.key, status.unread) == (State.RETRYING, 2, "k", 2)
    again = await next_claim(engine, run)
    assert (again.attempt, again.generation, again.input, again.entries) == (2, 1, run.input, [])
    assert [one.number for one in again.arrivals] == [1, 2]
    assert again.started_at > run.started_at
    assert await engine.results(anew(again, 0, BAD)) == ["done"]
    assert (await next_claim(engine, run)).attempt == 3


@pytest.mark.parametrize("word", ["resume", "cancel", "deadline", "resume of a pause"])
async def test_a_run_that_goes_on_before_its_time_goes_on_then(engine: Engine, word: str) -> None:
    run = await held(engine, timeout=3_600_000_000)
    run_id = run.fence.run_id
    assert await engine.results(behind(run, 0, BAD, cut=0)) == ["done"]
    if word == "cancel":
        await cancel(engine, run_id)
    elif word == "deadline":
        await engine.execute("UPDATE aiki.deadlines SET look_at = now() WHERE run_id = %s", run_id)
        await engine.pass_deadlines()
    else:
        if word != "resume":
            await control.pause(engine.pool, engine.namespace, Pause([run_id]))
        await control.resume(engine.pool, engine.namespace, Resume([run_id]))
    ((now,),) = await engine.execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint")
    (retry,) = read((await engine.claim_one()).entries).retries
    assert 0 <= now - retry.at < 60_000_000


async def test_a_zombie_of_the_attempt_before_writes_nothing(engine: Engine) -> None:
    run = await held(engine)
    await engine.results(behind(run, 0, A, BAD, cut=1))
    assert await engine.results(unit(run.fence, 3, entry("late"))) == ["fenced"]


def malformed(run: Claimed) -> list[Unit]:
    good = behind(run, 0, A, BAD, cut=1)
    entry_alone = unit(run.fence, 0, good.entries[-1])
    no_entry = unit(run.fence, 0, A, end=good.end)
    not_last = unit(run.fence, 0, good.entries[-1], A, end=good.end)
    no_date = unit(run.fence, 0, *good.entries, end=End(Move.AGAIN, error=Raw(b"{}")))
    other_end = unit(run.fence, 0, end=End(Move.SLEEP, due_at=DUE, anew=True))
    no_value = unit(run.fence, 0, Entry("retry:2", True, Raw(b"1"), DUE), end=good.end)
    return [
        *(entry_alone, no_entry, not_last, no_date, other_end, no_value),
        behind(run, 0, A, BAD, cut=3),
        behind(run, 0, A, BAD, cut=-1),
        behind(run, 0, A, BAD, cut=1, of="another"),
        behind(run, 0, A, BAD, cut=1, keep=["refund"]),
        behind(run, 0, A, BAD, cut=1, idle=-1),
    ]


async def test_what_makes_no_sense_is_refused_and_changes_nothing(engine: Engine) -> None:
    run = await held(engine)
    for said in malformed(run):
        assert await engine.results(said) == ["refused"], said
    assert await engine.state(run.fence.run_id) is State.RUNNING
    assert await engine.journal(run.fence.run_id) == []


async def test_an_attempt_that_is_not_the_next_is_refused(engine: Engine) -> None:
    run = await held(engine)
    assert await engine.results(behind(run, 0, A, BAD, cut=1, attempt=7)) == ["refused"]
    assert await engine.state(run.fence.run_id) is State.RUNNING


# -- children


async def test_a_parent_hears_in_the_same_commit_of_a_child_that_is_not_tried_again(engine: Engine) -> None:
    op = start()
    run = await parent_of(engine, op)
    child = await engine.claim_one()
    said = behind(child, 0, A, BAD, outcome("refund", asked=2), cut=1)
    assert said.end is not None
    said.end.parent = True
    assert await engine.results(said) == ["done"]
    ((start_id, end),) = ends((await engine.inbox(run.fence.run_id)).arrivals)
    assert (start_id, end.state) == (op.id, State.FAILED)


async def test_a_parent_hears_nothing_of_a_child_that_is_tried_again(engine: Engine) -> None:
    run = await parent_of(engine, start())
    child = await engine.claim_one()
    said = behind(child, 0, A, BAD, cut=1)
    assert said.end is not None
    said.end.parent = True
    assert await engine.results(said) == ["done"]
    await done(engine)
    assert (await engine.inbox(run.fence.run_id)).arrivals == []


async def failed_child(engine: Engine, run: Claimed) -> str:
    """Let the child that is queued fail at a task; return its id."""
    child = await engine.claim_one()
    end = failed(1)
    end.parent = True
    assert await engine.results(unit(child.fence, 0, outcome("charge", asked=0, ok=False), end=end)) == ["done"]
    return child.fence.run_id


def told(run: Claimed, number: int, start_id: str, *, asked: int = 1) -> Entry:
    """Return the entry by which a parent is given the end of a child."""
    return Entry(f"end:{start_id}", True, Raw(b'"over"'), 1_000_000, None, asked, (number,))


async def test_a_child_that_failed_is_retried_with_the_run(engine: Engine) -> None:
    op = start()
    run = await parent_of(engine, op)
    child = await failed_child(engine, run)
    assert await engine.results(behind(run, 1, told(run, 1, op.id), cut=1, key=f"end:{op.id}")) == ["done"]
    again = await engine.claim_one()
    assert (again.origin_id, again.parent, again.attempt) == (child, run.fence.run_id, 2)
    assert again.fence.run_id != child
    assert await engine.results(over(again, base=2)) == ["done"]
    parent = await next_claim(engine, run)
    (told_again,) = ends(parent.arrivals)
    assert (told_again[0], told_again[1].run_id, told_again[1].state) == (op.id, again.fence.run_id, State.COMPLETED)


async def test_the_end_of_a_failed_child_that_nobody_has_taken_is_forgotten_too(engine: Engine) -> None:
    ops = start(), start()
    run = await parent_of(engine, *ops)
    for _ in ops:
        await failed_child(engine, run)
    (first, _), (second, _) = ends((await engine.inbox(run.fence.run_id)).arrivals)
    assert {first, second} == {op.id for op in ops}
    assert await engine.results(behind(run, 1, told(run, 1, first), cut=1, key=f"end:{first}")) == ["done"]
    session = await engine.session()
    assert await engine.results(*[over(child, base=2) for child in await engine.claim(session)]) == ["done", "done"]
    told_again = ends((await next_claim(engine, run)).arrivals)
    assert [end.state for _, end in told_again] == [State.COMPLETED, State.COMPLETED]


async def test_a_child_that_completed_behind_the_cut_is_told_again(engine: Engine) -> None:
    op = start()
    run = await parent_of(engine, op)
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    said = behind(run, 1, msgspec.structs.replace(BAD, asked=1), told(run, 1, op.id), cut=1)
    assert await engine.results(said) == ["done"]
    await done(engine)
    parent = await next_claim(engine, run)
    assert [name for name, _ in ends(parent.arrivals)] == [op.id]


async def test_a_child_that_a_person_has_retried_meanwhile_is_the_runs_again(engine: Engine) -> None:
    op = start()
    run = await parent_of(engine, op)
    child = await failed_child(engine, run)
    assert (await retried(engine, child)).result == "retried"
    assert await engine.results(behind(run, 1, told(run, 1, op.id), cut=1, key=f"end:{op.id}")) == ["done"]
    again = await engine.claim_one()
    assert (again.origin_id, again.attempt) == (child, 2), "it is not retried once more"
    assert await engine.results(over(again, base=2)) == ["done"]
    await done(engine)
    parent = await next_claim(engine, run)
    assert [(name, end.run_id, end.state) for name, end in ends(parent.arrivals)] == [
        (op.id, again.fence.run_id, State.COMPLETED)
    ]


async def test_a_child_that_was_asked_for_behind_the_cut_is_cancelled(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    op = start()
    listed = Entry("starts:1", True, Raw(encode([["start:flow:d:1", op.id, 2]])), 1_000_000, None, 2)
    starting = msgspec.structs.replace(unit(run.fence, 0, A, BAD, listed), starts=[op])
    assert await engine.results(starting) == ["done"]
    assert await engine.results(behind(run, 3, outcome("worse", asked=3, ok=False), cut=1)) == ["done"]
    await done(engine)
    assert await engine.state(op.id) is State.CANCELLED
    assert await engine.state(run.fence.run_id) is State.RETRYING


async def test_a_child_that_completed_and_was_asked_for_behind_the_cut_fails_the_run(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    op = start()
    listed = Entry("starts:1", True, Raw(encode([["start:flow:d:1", op.id, 2]])), 1_000_000, None, 2)
    await engine.results(msgspec.structs.replace(unit(run.fence, 0, A, BAD, listed), starts=[op]))
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    assert await engine.results(behind(run, 3, told(run, 1, op.id, asked=3), cut=1)) == ["done"]
    assert await engine.state(run.fence.run_id) is State.FAILED


async def test_children_of_an_attempt_that_begins_anew_are_cancelled(engine: Engine) -> None:
    op = start()
    run = await parent_of(engine, op)
    assert await engine.results(anew(run, 1, BAD)) == ["done"]
    await done(engine)
    assert await engine.state(op.id) is State.CANCELLED


async def test_what_was_undone_and_done_again_with_a_batch_is_told_once(engine: Engine) -> None:
    run, other = await parent_of(engine, start()), await parent_of(engine)
    fails = anew(run, 1, BAD)
    fails.starts = [start()]
    takes_what_has_not_come = starting(other, start(), base=1)
    takes_what_has_not_come.entries[0].takes = (99,)
    recorded = await engine.recorded(fails, takes_what_has_not_come)
    assert isinstance(reply := recorded.replies[0], RecordReply)
    assert [one.result for one in reply.units] == ["done", "conflict"]
    assert recorded.changes.errands == 1


async def test_a_person_retries_a_run_whose_own_retries_have_failed(engine: Engine) -> None:
    run = await held(engine)
    await engine.results(behind(run, 0, A, BAD, cut=1))
    again = await next_claim(engine, run)
    await engine.results(unit(again.fence, 3, BAD, end=failed(2)))
    assert (await retried(engine, run.fence.run_id)).result == "retried"
    new = await engine.claim_one()
    assert (new.attempt, read(new.entries).entries) == (3, [A])
