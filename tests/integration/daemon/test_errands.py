"""What is told after a commit: ends of children that their own units did not tell, and children that are to end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec import Raw
from nats.aio.client import Client as Connection

from aiki.core.states import Move, State
from aiki.wire.messages import Cancel, Claimed, End, Entry, Record, Unit
from aikid.app import App
from aikid.engine import control
from aikid.loops.families import Families
from tests.clocks import HOUR, set_database_clock
from tests.integration.daemon.asking import ask_together
from tests.integration.daemon.engine import Engine, completed, parked, unit
from tests.integration.daemon.family import CHILD, done, ends, over, parent_of, start, starting
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


async def cancel(engine: Engine, run_id: str, *, force: bool = False) -> None:
    await control.cancel(engine.pool, engine.namespace, Cancel([run_id], force=force))


async def lapse(engine: Engine, run_id: str) -> None:
    """Let the deadline of a run pass, that ends it."""
    await engine.execute("UPDATE aiki.deadlines SET look_at = now() - interval '1 s' WHERE run_id = %s", run_id)
    await engine.pass_deadlines()


def cancelled(run: Claimed, base: int, taken: int, end: End | None = None) -> Unit:
    """Return the unit by which a run takes in that it is cancelled."""
    return unit(run.fence, base, Entry("cancel:requested", True, Raw(b"{}"), 1_000_000, takes=(taken,)), end=end)


async def complete_alone(engine: Engine, child: str) -> None:
    run = await engine.claim_one()
    assert run.fence.run_id == child
    await engine.record(unit(run.fence, end=completed()))


WAYS: dict[str, tuple[Callable[[Engine, str], Awaitable[None]], State]] = {
    "a cancel before it began": (cancel, State.CANCELLED),
    "force": (lambda engine, child: cancel(engine, child, force=True), State.CANCELLED),
    "its deadline": (lapse, State.FAILED),
    "a unit that says nothing of its parent": (complete_alone, State.COMPLETED),
}


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_ends_a_child_its_parent_hears_of_it(engine: Engine, way: str) -> None:
    child = start(timeout=3_600_000_000)
    run = await parent_of(engine, child)
    assert await engine.results(unit(run.fence, 1, end=parked(0, CHILD))) == ["done"]
    act, state = WAYS[way]
    await act(engine, child.id)
    assert await engine.state(child.id) is state
    changes = await done(engine)
    assert sum(changes.woken.values()) == 1
    again = await engine.claim_one()
    assert [(name, end.state) for name, end in ends(again.arrivals)] == [(child.id, state)]
    assert sum((await done(engine)).woken.values()) == 0
    assert await engine.execute("SELECT kind FROM aiki.errands") == []


async def test_an_end_that_was_told_in_its_own_commit_leaves_no_errand(engine: Engine) -> None:
    await parent_of(engine, start())
    told = await engine.recorded(over(await engine.claim_one()))
    assert told.changes.errands == 0
    assert await engine.execute("SELECT kind FROM aiki.errands") == []


async def test_a_worker_that_says_falsely_that_a_run_has_a_parent_tells_nobody(engine: Engine) -> None:
    await engine.queued_run()
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    assert await engine.execute("SELECT number FROM aiki.inbox") == []


@pytest.mark.parametrize("close", ["cancel", "abandon", "wait"])
@pytest.mark.parametrize("how", ["completed", "cancelled"])
async def test_when_a_parent_ends_its_children_end_as_their_start_said(engine: Engine, close: str, how: str) -> None:
    child = start(parent_close=close)
    run = await parent_of(engine, child)
    if how == "completed":
        assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    else:
        await cancel(engine, run.fence.run_id, force=True)
    await done(engine)
    is_ended = close == "cancel" or (close == "wait" and how == "cancelled")
    assert await engine.state(child.id) is (State.CANCELLED if is_ended else State.QUEUED)
    assert await engine.execute("SELECT kind FROM aiki.errands") == []


async def test_a_run_that_takes_in_its_cancel_has_its_children_cancelled_and_goes_on(engine: Engine) -> None:
    begun, fresh = start(), start()
    run = await parent_of(engine, begun, fresh)
    (child,) = await engine.claim(await engine.session(), limit=1)
    await cancel(engine, run.fence.run_id)
    assert (await engine.recorded(cancelled(run, 1, 1))).changes.errands == 1
    changes = await done(engine)
    assert [run_id for told in changes.told.values() for run_id, _ in told if run_id == begun.id] == [begun.id]
    assert await engine.state(begun.id) is State.RUNNING
    assert await engine.state(fresh.id) is State.CANCELLED
    assert [(name, end.state) for name, end in ends((await engine.inbox(run.fence.run_id)).arrivals)] == [
        (fresh.id, State.CANCELLED)
    ]
    (note,) = (await engine.inbox(child.fence.run_id)).arrivals
    assert (note.kind, note.value) == ("cancel", Raw(b'{"reason":"parent"}'))


async def test_what_a_cancelled_run_starts_afterwards_is_not_cancelled_with_it(engine: Engine) -> None:
    run = await parent_of(engine, start())
    await cancel(engine, run.fence.run_id)
    assert await engine.results(cancelled(run, 1, 1)) == ["done"]
    late = start()
    assert await engine.results(starting(run, late, base=2)) == ["done"]
    await done(engine)
    assert await engine.state(late.id) is State.QUEUED


async def test_what_a_cancelled_run_starts_afterwards_goes_on_although_the_clock_was_set_back_since_the_cancel(
    engine: Engine,
) -> None:
    early, late = start(), start()
    run = await parent_of(engine, early)
    await cancel(engine, run.fence.run_id)
    assert await engine.results(cancelled(run, 1, 1)) == ["done"]
    await set_database_clock(engine.database, ahead_seconds=-HOUR)
    assert await engine.results(starting(run, late, base=2)) == ["done"]
    await done(engine)
    assert await engine.state(early.id) is State.CANCELLED
    assert await engine.state(late.id) is State.QUEUED


async def test_children_end_with_a_cancelled_run_although_the_clock_was_set_back_since_their_start(
    engine: Engine,
) -> None:
    run = await parent_of(engine, start(priority=-1))
    await engine.execute("UPDATE aiki.children SET created_at = created_at + interval '1 hour'")
    await cancel(engine, run.fence.run_id)
    assert await engine.results(cancelled(run, 1, 1)) == ["done"]
    await done(engine)
    (state,) = await engine.execute("SELECT state FROM aiki.runs WHERE parent_id IS NOT NULL")
    assert state == (State.CANCELLED,)


async def test_a_cancel_runs_down_a_family(engine: Engine) -> None:
    child, grandchild = start(), start()
    run = await parent_of(engine, child)
    held = await engine.claim_one()
    assert await engine.results(starting(held, grandchild)) == ["done"]
    await cancel(engine, run.fence.run_id, force=True)
    await done(engine)
    assert await engine.results(cancelled(held, 1, 1, End(Move.CANCEL))) == ["done"]
    await done(engine)
    assert await engine.state(grandchild.id) is State.CANCELLED


async def test_many_children_are_told_a_thousand_in_a_commit(engine: Engine) -> None:
    run = await parent_of(engine, *(start() for _ in range(1_200)))
    await cancel(engine, run.fence.run_id)
    assert await engine.results(cancelled(run, 1, 1)) == ["done"]
    await done(engine)
    ((count, waiting),) = await engine.execute(
        "SELECT count(*), count(*) FILTER (WHERE state <> 'cancelled') FROM aiki.runs WHERE parent_id IS NOT NULL"
    )
    assert (count, waiting) == (1_200, 0)
    ((number,),) = await engine.execute("SELECT news_seq FROM aiki.runs WHERE id = %s", run.fence.run_id)
    assert number == 1 + 1_200
    assert await engine.execute("SELECT kind FROM aiki.errands") == []


@pytest.fixture
def leisurely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a daemon look for errands when it leaves one, and once at its start."""
    monkeypatch.setattr(Families, "every_seconds", 3_600.0)


@pytest.mark.usefixtures("leisurely")
@pytest.mark.parametrize("how", ["cancel", "record", "deadline"])
async def test_a_daemon_does_at_once_what_it_has_left_to_be_told(
    app: App, engine: Engine, bus: Connection, how: str
) -> None:
    child = start(timeout=3_600_000_000)
    run = await parent_of(engine, child)
    if how == "cancel":
        await ask_together(app, bus, ("default", Cancel([child.id])))
    elif how == "record":
        await ask_together(app, bus, ("default", Record([unit((await engine.claim_one()).fence, end=completed())])))
    else:
        await engine.execute("UPDATE aiki.deadlines SET look_at = now() - interval '1 s'")
        app.waker.alarm.ring()

    async def is_told() -> bool:
        return bool(ends((await engine.inbox(run.fence.run_id)).arrivals))

    await wait_until(is_told)


@pytest.mark.usefixtures("app")
async def test_a_daemon_does_what_another_has_left_to_be_told(engine: Engine) -> None:
    run = await parent_of(engine, start())
    await engine.record(unit((await engine.claim_one()).fence, end=completed()))

    async def is_told() -> bool:
        return bool(ends((await engine.inbox(run.fence.run_id)).arrivals))

    await wait_until(is_told)
