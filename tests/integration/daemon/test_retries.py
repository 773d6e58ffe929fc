"""A run that failed or was cancelled goes on in another: what that is given, and what of the first is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from aiki.core.states import ENQUEUED, RETRIED, State
from aiki.rules.histories import read
from aiki.wire.messages import Entry, Redone, Retry, Unit
from aikid.engine import retries
from aikid.store.pool import Connection
from tests.integration.daemon.arriving import held, results, taken
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, event, op, unit
from tests.integration.daemon.retrying import carried_out, ended, failed, outcome, retried, taken_up

pytestmark = pytest.mark.anyio

A, B = outcome("a", asked=0), outcome("b", asked=1)
BAD = outcome("bad", asked=2, ok=False)


async def test_a_retry_is_a_new_run_that_begins_with_the_journal_of_the_old_one_up_to_what_failed_it(
    engine: Engine,
) -> None:
    old = (await ended(engine, A, B, BAD)).fence.run_id
    done = await carried_out(engine, old)
    ((said,),) = [reply.outcomes for reply in done.replies]
    assert said == Redone("retried", said.run_id, State.QUEUED)
    assert dict(done.changes.queued) == {(engine.namespace, WORKFLOW, VERSION): 1}
    run = await engine.claim_one()
    assert (run.fence.run_id, run.origin_id, run.attempt, run.claims) == (said.run_id, old, 2, 1)
    assert [one.key for one in run.entries] == [A.key, B.key, BAD.key, "retry:2"]
    assert read(run.entries).entries == [A, B]


async def test_both_runs_say_which_has_taken_the_place_of_which(engine: Engine) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    new = (await retried(engine, old)).run_id
    lines = "SELECT move, reason FROM aiki.run_history WHERE run_id = %s ORDER BY seq"
    assert (await engine.execute(lines, old))[-1] == (RETRIED, f"by run {new}")
    assert await engine.execute(lines, new) == [(ENQUEUED, f"a retry of run {old}")]


async def test_a_send_to_any_run_of_an_origin_reaches_the_newest(engine: Engine) -> None:
    first = (await ended(engine, BAD)).fence.run_id
    second = (await retried(engine, first)).run_id
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, 2, BAD, end=failed(3))) == ["done"]
    third = (await retried(engine, second)).run_id
    events = [event(run_id) for run_id in (first, second, third)]
    assert results(await engine.send(*events)) == ["taken"] * 3
    assert [one.id for one in (await engine.inbox(third)).arrivals] == [one.id for one in events]


async def test_a_worker_is_told_what_came_to_the_newest_by_whichever_id(engine: Engine) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    run = await taken_up(engine, old)
    done = await engine.sent(event(old), event(run.fence.run_id))
    came = done.changes.came[engine.namespace, run.fence.run_id]
    assert [one.number for one in came] == [1, 2]
    assert [one.id for one in came] == [one.id for one in (await engine.inbox(run.fence.run_id)).arrivals]


async def test_a_body_that_sends_to_a_run_that_was_retried_reaches_the_newest(engine: Engine) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    new = (await retried(engine, old)).run_id
    await engine.claim_one()
    sender = await held(engine)
    (said,) = await engine.record(Unit(sender.fence, 0, [], [], None, [op(old)]))
    assert said.result == "done"
    assert [one.kind for one in (await engine.inbox(new)).arrivals] == ["event"]
    (answer,) = (await engine.inbox(sender.fence.run_id)).arrivals
    assert b"taken" in bytes(answer.value)


async def test_a_send_of_which_its_run_has_heard_is_not_sent_again_by_its_retry(engine: Engine) -> None:
    other = (await ended(engine, BAD)).fence.run_id
    sender = await held(engine)
    once = op(other)
    assert await engine.results(Unit(sender.fence, 0, [], [], None, [once])) == ["done"]
    assert await engine.results(unit(sender.fence, end=failed())) == ["done"]
    new = (await taken_up(engine, other)).fence.run_id
    again = await taken_up(engine, sender.fence.run_id)
    assert await engine.results(Unit(again.fence, again.length, [], [], None, [once])) == ["done"]
    (answer,) = (await engine.inbox(again.fence.run_id)).arrivals
    assert b"ended" in bytes(answer.value)
    assert (await engine.inbox(new)).arrivals == [], "its run was told that it was not taken"


async def test_a_repeated_send_is_known_though_its_run_was_retried_since(engine: Engine) -> None:
    run = await held(engine)
    once = event(run.fence.run_id)
    assert results(await engine.send(once)) == ["taken"]
    assert await engine.results(unit(run.fence, end=failed())) == ["done"]
    new = (await retried(engine, run.fence.run_id)).run_id
    assert results(await engine.send(once)) == ["repeated"]
    assert taken((await engine.inbox(new)).arrivals) == [(1, "event", "approved")]


@pytest.mark.parametrize("from_body", [True, False])
async def test_a_send_that_waits_for_the_row_of_a_run_that_is_being_retried_reaches_the_retry(
    engine: Engine, rival: Engine, from_body: bool
) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    sender = await held(engine)
    renewed, go = asyncio.Event(), asyncio.Event()

    async def renewing(connection: Connection) -> str:
        async with connection.transaction():
            made = await retries.renew(connection, engine.namespace, old, Retry([]))
            renewed.set()
            await go.wait()
        return made.outcome.run_id

    retry = asyncio.create_task(engine.pool.run(renewing))
    await renewed.wait()
    told = Unit(sender.fence, 0, [], [], None, [op(old)])
    sending: asyncio.Future[Any]
    sending = asyncio.ensure_future(rival.record(told) if from_body else rival.send(event(old)))
    await engine.until_waiting()
    go.set()
    new = await retry
    assert [one.result for one in await sending] == ["done" if from_body else "taken"]
    assert [one.kind for one in (await engine.inbox(new)).arrivals] == ["event"]


@pytest.mark.parametrize("written", [Entry("retry:2", True, Raw(b"5"), 1), Entry("starts:1", True, Raw(b"[[1]]"), 1)])
async def test_a_journal_that_says_nonsense_of_retries_or_children_is_refused_alone(
    engine: Engine, written: Entry
) -> None:
    good, bad = [(await ended(engine, *entries)).fence.run_id for entries in ([BAD], [BAD])]
    await engine.execute(
        "INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value) VALUES (%s, 2, true, 1, %s, %s)",
        *(bad, written.key, bytes(written.value)),
    )
    (reply,) = (await carried_out(engine, bad, good)).replies
    assert [one.result for one in reply.outcomes] == ["unreadable", "retried"]
