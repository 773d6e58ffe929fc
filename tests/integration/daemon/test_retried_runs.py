"""What a retry is given of the run in whose place it goes on: arrivals, tries, options, time, and children."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from msgspec import Raw, structs

from aiki.core.states import Move, State
from aiki.rules.histories import read
from aiki.wire.codec import decoder
from aiki.wire.messages import Attempt, Cancel, End, Entry, Redone, Retried, Unit
from aikid.engine import control
from aikid.store.errands import CLOSE, END
from tests.integration.daemon.arriving import LOCK, held, results, taken
from tests.integration.daemon.engine import Engine, completed, event, locked, unit
from tests.integration.daemon.family import done, ends, over, start, starting
from tests.integration.daemon.retrying import ended, failed, outcome, retried, taken_up

pytestmark = pytest.mark.anyio

A, B = outcome("a", asked=0), outcome("b", asked=1)
BAD = outcome("bad", asked=2, ok=False)


def wait(*takes: int, asked: int = 0) -> Entry:
    """Return the entry of a wait that has taken these arrivals."""
    return Entry("event:approved:d:1", True, Raw(b"null"), 1_000_000, None, asked, takes)


async def cancelled(engine: Engine, run_id: str) -> str:
    """Cancel a run, and return what has come of that."""
    done = await control.cancel(engine.pool, engine.namespace, Cancel([run_id]))
    return done.replies[0].outcomes[0].result


# -- one retry a run


async def test_of_two_retries_at_once_the_second_finds_the_first(engine: Engine, rival: Engine) -> None:
    old = (await ended(engine, A, B, BAD)).fence.run_id
    async with locked(engine.database, LOCK, old) as holder:
        orders = [asyncio.create_task(retried(one, old)) for one in (engine, rival)]
        await engine.until_waiting(2)
        await holder.commit()
    said = sorted(await asyncio.gather(*orders), key=lambda one: one.result)
    assert [one.result for one in said] == ["found", "retried"]
    assert len({one.run_id for one in said}) == 1
    ((count,),) = await engine.execute("SELECT count(*) FROM aiki.runs WHERE origin_id = %s", old)
    assert count == 2


async def test_a_retry_that_is_ordered_again_is_the_same_whatever_is_said_of_it(engine: Engine) -> None:
    old = (await ended(engine, A, BAD)).fence.run_id
    new = (await retried(engine, old)).run_id
    for order in ({}, {"start": True}, {"task": "a"}, {"force": True}):
        assert await retried(engine, old, **order) == Redone("found", new, State.QUEUED)


async def test_a_retry_can_fail_and_be_retried_in_turn(engine: Engine) -> None:
    first = (await ended(engine, A, B, BAD)).fence.run_id
    second = await taken_up(engine, first)
    assert await engine.results(unit(second.fence, 4, BAD, end=failed(3))) == ["done"]
    third = await taken_up(engine, second.fence.run_id)
    assert (third.attempt, third.origin_id) == (3, first)
    assert read(third.entries).entries == [A, B]
    assert await retried(engine, first) == Redone("found", third.fence.run_id, State.RUNNING), "the newest"
    assert (await engine.status(first)).retried_by == third.fence.run_id


async def test_a_run_of_another_namespace_is_unknown(engine: Engine) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    stranger = Engine(engine.database, "elsewhere")
    assert await retried(stranger, old) == Redone("unknown", old)
    await stranger.pool.aclose()


# -- what reached it


async def test_what_was_taken_behind_the_cut_is_unread_again_in_its_order(engine: Engine) -> None:
    run = await held(engine)
    sent = [event(run.fence.run_id) for _ in range(4)]
    await engine.send(*sent)
    journal = [wait(1), BAD, wait(3, asked=1)]
    assert await engine.results(unit(run.fence, 0, *journal, end=failed(2))) == ["done"]
    new = await taken_up(engine, run.fence.run_id)
    assert [one.id for one in new.arrivals] == [one.id for one in (sent[1], sent[2], sent[3])]
    assert (await engine.status(new.fence.run_id)).unread == 3
    assert (await engine.status(run.fence.run_id)).unread == 0
    kept = "SELECT number, taken_seq FROM aiki.inbox WHERE run_id = %s AND taken_seq IS NOT NULL"
    assert await engine.execute(kept, new.fence.run_id) == [(1, 1)]


async def test_what_comes_to_a_retry_has_higher_numbers_than_what_it_was_given(engine: Engine) -> None:
    run = await held(engine)
    await engine.send(event(run.fence.run_id), event(run.fence.run_id))
    assert await engine.results(unit(run.fence, 0, BAD, end=failed(1))) == ["done"]
    new = (await retried(engine, run.fence.run_id)).run_id
    await engine.send(event(new))
    assert [number for number, *_ in taken((await engine.inbox(new)).arrivals)] == [1, 2, 3]


async def test_an_event_with_a_key_is_taken_once_by_all_runs_of_an_origin(engine: Engine) -> None:
    run = await held(engine)
    keyed = partial(event, key="k", digest="0" * 32)
    assert results(await engine.send(keyed(run.fence.run_id))) == ["taken"]
    assert await engine.results(unit(run.fence, 0, wait(1), BAD, end=failed(2))) == ["done"]
    new = (await retried(engine, run.fence.run_id)).run_id
    assert results(await engine.send(keyed(new), keyed(run.fence.run_id))) == ["repeated"] * 2


async def test_from_the_start_all_events_of_the_generation_are_unread_again_and_nothing_else_is(
    engine: Engine,
) -> None:
    run = await held(engine)
    await engine.send(event(run.fence.run_id), event(run.fence.run_id))
    assert await engine.results(unit(run.fence, 0, wait(1), A, end=failed())) == ["done"]
    new = await taken_up(engine, run.fence.run_id, start=True)
    assert (new.generation, new.entries, new.attempt) == (1, [], 2)
    assert [one.number for one in new.arrivals] == [1, 2]
    assert new.started_at > run.started_at


async def test_a_run_goes_on_by_the_clock_of_its_first_claim(engine: Engine) -> None:
    run = await ended(engine, A, BAD)
    assert (await taken_up(engine, run.fence.run_id)).started_at == run.started_at


async def test_a_cancelled_run_goes_on_as_if_it_had_not_been_told(engine: Engine) -> None:
    run = await held(engine)
    assert await cancelled(engine, run.fence.run_id) == "requested"
    told = Entry("cancel:requested", True, Raw(b"null"), 1, None, 1, (1,))
    end = End(Move.CANCEL)
    assert await engine.results(unit(run.fence, 0, A, told, B, end=end)) == ["done"]
    new = await taken_up(engine, run.fence.run_id)
    assert read(new.entries).entries == [A]
    assert list(read(new.entries).known) == [B.key]
    assert not new.arrivals
    status = await engine.status(new.fence.run_id)
    assert (status.state, status.cancel) == (State.RUNNING, None)


async def test_a_retry_that_is_cancelled_before_its_claim_is_told_since_it_has_a_past(engine: Engine) -> None:
    old = (await ended(engine, A, BAD)).fence.run_id
    new = (await retried(engine, old)).run_id
    assert await cancelled(engine, new) == "requested"
    run = await engine.claim_one()
    assert [one.kind for one in run.arrivals] == ["cancel"]


# -- tries, options, time


async def test_a_task_is_tried_from_its_first_try_and_one_that_may_not_begin_twice_is_known_to_have_begun(
    engine: Engine,
) -> None:
    run = await held(engine)
    tries = [Attempt("task:bad:d:1", 1, Raw(b'{"type":"E","message":""}')), Attempt("task:once:d:1", 1)]
    assert await engine.results(unit(run.fence, 0, BAD, end=failed(1), attempts=tries)) == ["done"]
    new = await taken_up(engine, run.fence.run_id)
    assert [one.key for one in new.attempts] == ["task:once:d:1"]


async def test_a_task_that_may_not_begin_twice_begins_again_where_that_is_said(engine: Engine) -> None:
    run = await held(engine)
    once = outcome("once", asked=0, ok=False)
    assert await engine.results(unit(run.fence, 0, once, end=failed(1), attempts=[Attempt(once.key, 1)])) == ["done"]
    refused = await retried(engine, run.fence.run_id)
    assert (refused.result, refused.names) == ("once", ["once"])
    new = await taken_up(engine, run.fence.run_id, again=["once"])
    assert new.attempts == []


async def test_priority_labels_key_and_input_are_those_of_the_old_run(engine: Engine) -> None:
    with_options = partial(ended, priority=7, labels={"team": "a"}, key="k", digest="0" * 32)
    old = (await with_options(engine, BAD, input=Raw(b'{"a":1}'))).fence.run_id
    new = await taken_up(engine, old)
    status = await engine.status(new.fence.run_id)
    assert (status.priority, status.labels, status.key) == (7, {"team": "a"}, "k")
    assert bytes(new.input) == b'{"a":1}'
    labelled = "SELECT run_id::text FROM aiki.labels WHERE name = 'team' ORDER BY created_at"
    assert await engine.execute(labelled) == [(old,), (new.fence.run_id,)]
    assert await engine.execute("SELECT run_id::text FROM aiki.keys") == [(new.fence.run_id,)]


async def test_with_another_input_nothing_is_copied(engine: Engine) -> None:
    old = (await ended(engine, A, BAD)).fence.run_id
    new = await taken_up(engine, old, input=Raw(b'{"a":2}'), workflow="flow")
    assert (bytes(new.input), new.entries, new.generation) == (b'{"a":2}', [], 1)


async def test_an_input_of_another_workflow_is_refused(engine: Engine) -> None:
    old = (await ended(engine, A, BAD)).fence.run_id
    refused = await retried(engine, old, input=Raw(b"{}"), workflow="other")
    assert (refused.result, refused.names) == ("other", ["flow"])


async def test_a_deadline_begins_anew_with_each_retry(engine: Engine) -> None:
    await engine.queued_run(timeout=60_000_000)
    timed = await engine.claim_one()
    for _ in range(2):
        await engine.execute("UPDATE aiki.deadlines SET at = aiki.now() - interval '1 day', look_at = NULL")
        assert await engine.results(unit(timed.fence, timed.length, BAD, end=failed())) == ["done"]
        timed = await taken_up(engine, timed.fence.run_id)
        ((left,),) = await engine.execute(
            "SELECT extract(epoch FROM look_at - aiki.now())::float8 FROM aiki.deadlines WHERE run_id = %s",
            timed.fence.run_id,
        )
        assert 50 < left <= 60


async def test_tasks_that_a_retry_has_cut_off_do_not_count_as_outcomes(engine: Engine) -> None:
    old = (await ended(engine, A, B, BAD)).fence.run_id
    new = (await retried(engine, old)).run_id
    assert (await engine.status(new)).tasks == 2
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, 4, outcome("bad", asked=2))) == ["done"]
    assert (await engine.status(new)).tasks == 3


# -- its family


async def test_a_child_that_has_completed_is_told_again_and_one_that_failed_is_retried_with_its_parent(
    engine: Engine,
) -> None:
    good, bad = start(priority=2), start(priority=1)
    await engine.queued_run()
    parent = await engine.claim_one()
    assert await engine.results(starting(parent, good, bad)) == ["done"]
    first, second = await engine.claim_one(), await engine.claim_one()
    assert await engine.results(over(first)) == ["done"]
    end = structs.replace(failed(1), parent=True)
    assert await engine.results(unit(second.fence, 0, BAD, end=end)) == ["done"]
    told = [number for number, *_ in taken((await engine.inbox(parent.fence.run_id)).arrivals)]
    gone = Entry("end:flow:d:1", False, Raw(b"null"), 1, None, 1, (told[1],))
    assert await engine.results(unit(parent.fence, 1, gone, end=failed(2))) == ["done"]
    await done(engine)
    new = (await retried(engine, parent.fence.run_id)).run_id
    runs = {run.fence.run_id: run for run in await engine.claim(await engine.session(), limit=10)}
    assert len(runs) == 2, "of the one that completed there is no other"
    (child,) = [run for run in runs.values() if run.fence.run_id != new]
    assert (child.origin_id, child.parent, child.attempt) == (bad.id, new, 2)
    await done(engine)
    reply = await engine.inbox(new)
    assert [(name, one.run_id) for name, one in ends(reply.arrivals)] == [(good.id, good.id)]
    assert await engine.results(unit(child.fence, 2, end=structs.replace(completed(), parent=True))) == ["done"]
    reply = await engine.inbox(new)
    assert [(name, one.run_id) for name, one in ends(reply.arrivals)][1:] == [(bad.id, child.fence.run_id)]


async def test_a_child_that_runs_is_the_new_runs_own_and_tells_it_of_its_end(engine: Engine) -> None:
    on = start(parent_close="abandon")
    await engine.queued_run()
    parent = await engine.claim_one()
    assert await engine.results(starting(parent, on)) == ["done"]
    child = await engine.claim_one()
    assert await engine.results(unit(parent.fence, 1, BAD, end=failed(2))) == ["done"]
    await done(engine)
    new = (await retried(engine, parent.fence.run_id)).run_id
    assert (await engine.status(child.fence.run_id)).parent_id == new
    assert await engine.results(over(child)) == ["done"]
    await done(engine)
    assert [name for name, _ in ends((await engine.inbox(new)).arrivals)] == [on.id]


async def test_a_childs_end_that_waits_while_its_parent_is_retried_reaches_the_new_one(
    engine: Engine, rival: Engine
) -> None:
    on = start(parent_close="abandon")
    await engine.queued_run()
    parent = await engine.claim_one()
    assert await engine.results(starting(parent, on)) == ["done"]
    child = await engine.claim_one()
    assert await engine.results(unit(parent.fence, 1, BAD, end=failed(2))) == ["done"]
    await done(engine)
    async with locked(engine.database, LOCK, min(on.id, parent.fence.run_id)) as holder:
        retry = asyncio.create_task(retried(engine, parent.fence.run_id))
        await engine.until_waiting()
        ending = asyncio.create_task(rival.results(over(child)))
        await engine.until_waiting(2)
        await holder.commit()
    assert await ending == ["done"]
    new = (await retry).run_id
    await done(engine)
    assert [name for name, _ in ends((await engine.inbox(new)).arrivals)] == [on.id]


async def test_a_retry_waits_for_children_that_are_to_be_told_or_are_being_cancelled(engine: Engine) -> None:
    child = start()
    await engine.queued_run()
    parent = await engine.claim_one()
    assert await engine.results(starting(parent, child)) == ["done"]
    run = await engine.claim_one()
    assert await engine.results(unit(parent.fence, 1, BAD, end=failed(2))) == ["done"]
    untold = await retried(engine, parent.fence.run_id)
    assert (untold.result, untold.run_id) == ("busy", child.id)
    await done(engine)
    told = await retried(engine, parent.fence.run_id)
    assert (told.result, told.run_id) == ("busy", child.id)
    heard = Entry("cancel:parent", True, Raw(b"null"), 1, None, 0, (1,))
    end = End(Move.CANCEL, parent=True)
    assert await engine.results(unit(run.fence, 0, heard, end=end)) == ["done"]
    await done(engine)
    new = (await retried(engine, parent.fence.run_id)).run_id
    ((renewed, state),) = await engine.execute(
        "SELECT id::text, state FROM aiki.runs WHERE parent_id = %s AND id <> %s", new, child.id
    )
    assert state == State.QUEUED
    assert (await engine.status(child.id)).retried_by == renewed
    assert not await engine.execute("SELECT FROM aiki.errands WHERE kind IN (%s, %s)", END, CLOSE)


async def test_down_a_family_all_is_refused_or_retried_in_one_commit(engine: Engine) -> None:
    top, middle = await chain(engine)
    refused = await retried(engine, top)
    assert (refused.result, refused.run_id, refused.names) == ("done", middle, ["refund"])
    assert (await engine.status(middle)).retried_by is None
    new = (await retried(engine, top, keep=["refund"])).run_id
    family = "SELECT attempt FROM aiki.runs WHERE depth > 0 AND attempt > 1"
    assert await engine.execute(family) == [(2,), (2,)]
    assert (await engine.status(new)).children == 1


async def chain(engine: Engine) -> tuple[str, str]:
    """Return a run and its child, which failed with a child of its own, and has taken something back since."""
    await engine.queued_run()
    top = await engine.claim_one()
    middle_start, low_start = start(), start()
    assert await engine.results(starting(top, middle_start)) == ["done"]
    middle = await engine.claim_one()
    assert await engine.results(starting(middle, low_start)) == ["done"]
    low = await engine.claim_one()
    end = structs.replace(failed(1), parent=True)
    assert await engine.results(unit(low.fence, 0, BAD, end=end)) == ["done"]
    gone = Entry("end:flow:d:1", False, Raw(b"null"), 1, None, 1, (1,))
    refund = outcome("refund", asked=2)
    end = structs.replace(failed(2), parent=True)
    assert await engine.results(unit(middle.fence, 1, gone, refund, end=end)) == ["done"]
    assert await engine.results(unit(top.fence, 1, gone, end=failed(2))) == ["done"]
    await done(engine)
    return top.fence.run_id, middle.fence.run_id


async def test_the_entry_says_where_a_retry_cut_and_how_long_it_was_idle(engine: Engine) -> None:
    old = (await ended(engine, A, BAD)).fence.run_id
    new = await taken_up(engine, old)
    said = decoder(Retried).decode(new.entries[-1].value)
    assert (said.cut, said.key, said.run_id, said.of) == (1, BAD.key, new.fence.run_id, old)
    assert said.at - said.idle == BAD.at
    alone = Unit(new.fence, 3, [outcome("bad", asked=1)], [], completed())
    assert await engine.results(alone) == ["done"]


async def test_a_child_that_is_retried_beside_its_parent_is_retried_once_and_is_the_new_parents_own(
    engine: Engine, rival: Engine
) -> None:
    child = start()
    await engine.queued_run()
    parent = await engine.claim_one()
    assert await engine.results(starting(parent, child)) == ["done"]
    end = structs.replace(failed(1), parent=True)
    assert await engine.results(unit((await engine.claim_one()).fence, 0, BAD, end=end)) == ["done"]
    gone = Entry("end:flow:d:1", False, Raw(b"null"), 1, None, 1, (1,))
    assert await engine.results(unit(parent.fence, 1, gone, end=failed(2))) == ["done"]
    await done(engine)
    async with locked(engine.database, LOCK, child.id) as holder:
        orders = [
            asyncio.create_task(retried(one, run_id))
            for one, run_id in ((engine, parent.fence.run_id), (rival, child.id))
        ]
        await engine.until_waiting(2)
        await holder.commit()
    new, renewed = await asyncio.gather(*orders)
    assert new.result == "retried"
    runs = "SELECT id::text, parent_id::text FROM aiki.runs WHERE origin_id = %s AND id <> origin_id"
    assert await engine.execute(runs, child.id) == [(renewed.run_id, new.run_id)]


async def test_children_whose_ends_were_given_before_the_cut_stay_as_they_are(engine: Engine) -> None:
    child = start()
    await engine.queued_run()
    parent = await engine.claim_one()
    assert await engine.results(starting(parent, child)) == ["done"]
    end = structs.replace(failed(1), parent=True)
    assert await engine.results(unit((await engine.claim_one()).fence, 0, BAD, end=end)) == ["done"]
    gone = Entry("end:flow:d:1", False, Raw(b"null"), 1, None, 1, (1,))
    late = outcome("late", asked=2, ok=False)
    assert await engine.results(unit(parent.fence, 1, gone, late, end=failed(3))) == ["done"]
    await done(engine)
    new = (await retried(engine, parent.fence.run_id)).run_id
    assert (await engine.status(child.id)).retried_by is None
    kept = "SELECT run_id::text, owned FROM aiki.children WHERE parent_id = %s"
    assert await engine.execute(kept, new) == [(child.id, True)]
    told = "SELECT kind, taken_seq FROM aiki.inbox WHERE run_id = %s"
    assert await engine.execute(told, new) == [("child", 2)]
