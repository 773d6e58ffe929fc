"""What `on_conflict` makes of a run that has the key: found, retried, replaced; alone, at once, and with an event."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec import Raw

from aiki.core.states import State
from aiki.wire.messages import Enqueued, FirstEvent, NewRun, Started
from tests.integration.daemon.arriving import taken
from tests.integration.daemon.engine import Engine, completed, locked, new_run, unit
from tests.integration.daemon.family import done, ends, parent_of, start
from tests.integration.daemon.retrying import ended, failed, outcome

pytestmark = pytest.mark.anyio

BAD = outcome("bad", asked=0, ok=False)
SAME, OTHER = "0" * 32, "1" * 32
SEND = FirstEvent("approved", Raw(b'"yes"'))
LOCK_KEY = "SELECT FROM aiki.keys WHERE key = 'k' FOR UPDATE"


def keyed(on_conflict: str, digest: str = SAME, **options: object) -> NewRun:
    return new_run(key="k", on_conflict=on_conflict, digest=digest, **options)


async def over(engine: Engine, *, fails: bool = True) -> str:
    """Return a run that has the key and has ended."""
    run = await ended(engine, BAD, key="k", digest=SAME, end=None if fails else completed())
    return run.fence.run_id


async def going(engine: Engine) -> str:
    """Return a run that has the key and goes on."""
    await engine.queued_run(key="k", digest=SAME)
    return (await engine.claim_one()).fence.run_id


def code(answer: Enqueued) -> str | None:
    return None if answer.error is None else answer.error.code


async def test_a_failed_run_is_retried_by_an_enqueue_that_wants_it_and_no_other_is(engine: Engine) -> None:
    old = await over(engine)
    (same,) = await engine.enqueue(keyed("error"))
    assert same == Enqueued(old, created=False)
    (made,) = await engine.enqueue(keyed("retry_failed"))
    assert (made.error, made.created) == (None, False)
    new = await engine.status(made.id)
    assert (new.origin_id, new.attempt, new.state) == (old, 2, State.QUEUED)
    for on_conflict in ("error", "existing", "retry_failed"):
        assert await engine.enqueue(keyed(on_conflict)) == [Enqueued(made.id, created=False)], "the key is its own now"


async def test_a_run_that_goes_on_or_was_completed_is_found_and_another_input_is_a_conflict(engine: Engine) -> None:
    run_id = await going(engine)
    assert await engine.enqueue(keyed("retry_failed")) == [Enqueued(run_id, created=False)]
    assert await engine.enqueue(keyed("restart")) == [Enqueued(run_id, created=False)]
    for on_conflict in ("retry_failed", "restart"):
        (refused,) = await engine.enqueue(keyed(on_conflict, OTHER))
        assert (code(refused), refused.id) == ("conflict", run_id)
    assert (await engine.status(run_id)).state is State.RUNNING


async def test_a_completed_run_is_not_retried(engine: Engine) -> None:
    old = await over(engine, fails=False)
    assert await engine.enqueue(keyed("retry_failed")) == [Enqueued(old, created=False)]


async def test_a_retry_that_is_refused_says_why(engine: Engine) -> None:
    undone = outcome("refund", asked=1)
    run = await ended(engine, BAD, undone, key="k", digest=SAME, end=None)
    await engine.execute('UPDATE aiki.runs SET error = \'{"type":"E","message":"","cut":1}\'')
    (refused,) = await engine.enqueue(keyed("retry_failed"))
    assert (code(refused), refused.id) == ("conflict", run.fence.run_id)
    assert refused.error is not None
    assert "has completed refund" in refused.error.message


@pytest.mark.parametrize("digest", [SAME, OTHER])
@pytest.mark.parametrize("fails", [True, False])
async def test_a_new_run_takes_the_key_of_one_that_has_ended(engine: Engine, digest: str, fails: bool) -> None:
    old = await over(engine, fails=fails)
    run = keyed("restart", digest)
    assert await engine.enqueue(run) == [Enqueued(run.id)]
    assert await engine.enqueue(run) == [Enqueued(run.id)], "its repeat is the same run"
    assert await engine.enqueue(keyed("existing")) == [Enqueued(run.id, created=False)]
    assert (await engine.status(run.id)).origin_id is None
    assert (await engine.status(old)).retried_by is None


async def test_a_repeat_of_a_restart_that_has_ended_since_is_that_run(engine: Engine) -> None:
    await over(engine)
    run = keyed("restart")
    await engine.enqueue(run)
    claimed = await engine.claim_one()
    assert await engine.results(unit(claimed.fence, end=completed())) == ["done"]
    assert await engine.enqueue(run) == [Enqueued(run.id)]


async def test_of_two_restarts_at_once_the_second_finds_the_run_of_the_first(engine: Engine, rival: Engine) -> None:
    await over(engine)
    first, second = keyed("restart"), keyed("restart")
    async with locked(engine.database, LOCK_KEY) as holder:
        restarts = [asyncio.create_task(engine.enqueue(first)), asyncio.create_task(rival.enqueue(second))]
        await engine.until_waiting(2)
        await holder.commit()
    answers = [answer for done in await asyncio.gather(*restarts) for answer in done]
    assert len({answer.id for answer in answers}) == 1
    assert sorted(answer.created for answer in answers) == [False, True]


async def test_a_retry_and_its_event_are_one_commit(engine: Engine) -> None:
    old = await over(engine)
    run = keyed("retry_failed", send=SEND)
    for _ in range(2):
        (made,) = await engine.enqueue(run)
        assert made.error is None
    assert made.id != old
    assert taken((await engine.inbox(made.id)).arrivals) == [(1, "event", "approved")], "the repeat is known"


@pytest.mark.parametrize(("on_conflict", "is_new"), [("error", False), ("existing", False), ("restart", True)])
async def test_an_event_for_a_run_that_has_ended_is_refused_but_by_a_new_one(
    engine: Engine, on_conflict: str, is_new: bool
) -> None:
    old = await over(engine)
    run = keyed(on_conflict, send=SEND)
    (made,) = await engine.enqueue(run)
    if is_new:
        assert made == Enqueued(run.id)
        assert taken((await engine.inbox(run.id)).arrivals) == [(1, "event", "approved")]
    else:
        assert (code(made), made.id) == ("run_ended", old)


@pytest.mark.parametrize("on_conflict", ["retry_failed", "restart"])
async def test_nobody_sees_a_run_before_the_event_that_it_is_enqueued_with(engine: Engine, on_conflict: str) -> None:
    old = await over(engine)
    async with locked(engine.database, "LOCK TABLE aiki.inbox IN SHARE MODE"):
        enqueuing = asyncio.create_task(engine.enqueue(keyed(on_conflict, send=SEND)))
        await engine.until_waiting()
        assert await engine.execute("SELECT id::text FROM aiki.runs") == [(old,)]
        assert await engine.execute("SELECT run_id::text FROM aiki.keys") == [(old,)]
    (made,) = await enqueuing
    assert taken((await engine.inbox(made.id)).arrivals) == [(1, "event", "approved")]


async def test_a_child_whose_key_a_failed_run_has_is_its_retry(engine: Engine) -> None:
    old = await over(engine)
    child = start(key="k", digest=SAME, on_conflict="retry_failed")
    run = await parent_of(engine, child)
    (answer,) = (await engine.inbox(run.fence.run_id)).arrivals
    started = msgspec.json.decode(answer.value, type=Started)
    assert started.result == "existing"
    assert (await engine.status(started.run_id)).origin_id == old
    retry = await engine.claim_one()
    assert retry.fence.run_id == started.run_id
    assert await engine.results(unit(retry.fence, 2, end=completed())) == ["done"]
    await done(engine)
    assert [end.run_id for _, end in ends((await engine.inbox(run.fence.run_id, 1)).arrivals)] == [started.run_id]


async def test_a_child_takes_the_key_of_a_run_that_has_ended(engine: Engine) -> None:
    await over(engine)
    child = start(key="k", digest=OTHER, on_conflict="restart")
    run = await parent_of(engine, child)
    (answer,) = (await engine.inbox(run.fence.run_id)).arrivals
    assert msgspec.json.decode(answer.value, type=Started) == Started("started", child.id)
    assert (await engine.status(child.id)).key == "k"


async def test_a_file_of_rows_that_is_enqueued_anew_retries_what_failed_of_it_in_one_commit(engine: Engine) -> None:
    rows = [new_run(key=f"k{n}", digest=SAME, on_conflict="retry_failed") for n in range(100)]
    await engine.enqueue(*rows)
    runs = await engine.claim(await engine.session(), limit=100)
    ends = [failed(1), failed(1), completed()]
    journal = [BAD, outcome("refund", asked=1)]
    units = [unit(run.fence, 0, *journal[: 1 + (n == 0)], end=ends[n % 3]) for n, run in enumerate(runs)]
    assert set(await engine.results(*units)) == {"done"}
    again = [new_run(key=f"k{n}", digest=SAME, on_conflict="retry_failed") for n in range(100)]
    answers = await engine.enqueue(*again)
    (refused,) = [answer for answer in answers if answer.error is not None]
    assert refused.id == runs[0].fence.run_id
    renewed = {answer.id for answer in answers} - {row.id for row in rows}
    assert len(renewed) == 66
    assert [answer.id for answer in await engine.enqueue(*again)] == [answer.id for answer in answers]
