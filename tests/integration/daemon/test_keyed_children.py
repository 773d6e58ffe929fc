"""Starts of children with keys: a new run, one that is there, or none; and cancels of children by their parents."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from aiki.core.states import State
from aiki.wire.messages import Claimed, Outcome, Started, StopOp, Unit
from tests.integration.daemon.engine import Engine, completed, new_id, op, parked, running_engine, unit
from tests.integration.daemon.family import CHILD, done, ends, over, parent_of, start, starting

pytestmark = pytest.mark.anyio
DIGEST, OTHER = "a" * 32, "b" * 32


async def started(engine: Engine, run: Claimed) -> list[Started]:
    arrivals = (await engine.inbox(run.fence.run_id)).arrivals
    return [msgspec.json.decode(one.value, type=Started) for one in arrivals if one.kind == "op"]


async def outcomes(engine: Engine, run: Claimed, after: int = 0) -> list[Outcome]:
    arrivals = (await engine.inbox(run.fence.run_id, after)).arrivals
    return [msgspec.json.decode(one.value, type=Outcome) for one in arrivals if one.kind == "op"]


async def test_a_start_with_a_key_that_nobody_has_makes_a_run_and_says_so(engine: Engine) -> None:
    child = start(key="k", digest=DIGEST)
    run = await parent_of(engine, child)
    assert await started(engine, run) == [Started("started", child.id)]
    assert (await engine.status(child.id)).key == "k"


async def test_a_unit_is_answered_with_the_number_of_the_outcome(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    (recorded,) = await engine.record(starting(run, start(key="k", digest=DIGEST)))
    assert (recorded.result, recorded.news) == ("done", 1)


async def test_a_park_does_not_sleep_over_the_outcome_of_its_own_start(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    (recorded,) = await engine.record(starting(run, start(key="k", digest=DIGEST), end=parked(0, "op")))
    assert (recorded.result, recorded.parked, recorded.news) == ("done", False, 1)


async def test_a_start_finds_the_run_that_has_its_key_and_hears_of_its_end(engine: Engine) -> None:
    holder = await engine.queued_run(key="k", digest=DIGEST)
    held = await engine.claim_one()
    child = start(key="k", digest=DIGEST)
    run = await parent_of(engine, child)
    assert await started(engine, run) == [Started("existing", holder)]
    assert await engine.execute("SELECT id FROM aiki.runs WHERE id = %s", child.id) == []
    assert (await engine.recorded(unit(held.fence, end=completed()))).changes.errands == 1
    await done(engine)
    assert [(name, end.run_id) for name, end in ends((await engine.inbox(run.fence.run_id)).arrivals)] == [
        (child.id, holder)
    ]


async def test_a_start_hears_of_an_end_that_has_been(engine: Engine) -> None:
    holder = await engine.queued_run(key="k", digest=DIGEST)
    assert await engine.results(unit((await engine.claim_one()).fence, end=completed())) == ["done"]
    child = start(key="k", digest=DIGEST)
    run = await parent_of(engine, child)
    await done(engine)
    assert [(name, end.run_id) for name, end in ends((await engine.inbox(run.fence.run_id)).arrivals)] == [
        (child.id, holder)
    ]


@pytest.mark.parametrize("on_conflict", ["error", "existing"])
async def test_another_input_is_a_conflict_unless_that_does_not_matter(engine: Engine, on_conflict: str) -> None:
    holder = await engine.queued_run(key="k", digest=DIGEST)
    run = await parent_of(engine, start(key="k", digest=OTHER, on_conflict=on_conflict), priority=1)
    (outcome,) = await started(engine, run)
    assert (outcome.result, outcome.run_id) == ("conflict" if on_conflict == "error" else "existing", holder)
    assert (outcome.message or "").count("another input") == (on_conflict == "error")


async def test_a_start_that_is_repeated_is_answered_once(engine: Engine) -> None:
    child = start(key="k", digest=DIGEST)
    await engine.queued_run()
    run = await engine.claim_one()
    alone = Unit(run.fence, 0, [], [], starts=[child])
    for _ in range(2):
        assert await engine.results(alone) == ["done"]
    assert await started(engine, run) == [Started("started", child.id)]
    assert len(await engine.execute("SELECT start_id FROM aiki.children")) == 1


async def test_a_key_of_another_namespace_is_another_key(engine: Engine) -> None:
    async with running_engine(engine.database, "elsewhere") as elsewhere:
        await elsewhere.queued_run(key="k", digest=DIGEST)
    child = start(key="k", digest=DIGEST)
    assert await started(engine, await parent_of(engine, child)) == [Started("started", child.id)]


async def test_what_was_found_by_its_key_is_not_cancelled_with_the_parent_nor_boosted(engine: Engine) -> None:
    holder = await engine.queued_run(key="k", digest=DIGEST)
    run = await parent_of(engine, start(key="k", digest=DIGEST, priority=50), priority=1)
    assert (await engine.status(holder)).priority == 0
    assert await engine.results(unit(run.fence, 1, end=completed())) == ["done"]
    await done(engine)
    assert await engine.state(holder) is State.QUEUED


async def test_a_run_cannot_wait_for_itself_or_for_an_ancestor(engine: Engine) -> None:
    child = start(key="child", digest=DIGEST)
    parent = await parent_of(engine, child, key="parent", digest=DIGEST)
    held = await engine.claim_one()
    own = start(key="child", digest=DIGEST)
    above = start(key="parent", digest=DIGEST)
    assert await engine.results(starting(held, own, above)) == ["done"]
    found = await started(engine, held)
    assert [(one.result, one.run_id) for one in found] == [("circle", child.id), ("circle", parent.fence.run_id)]
    assert "waits" in (found[0].message or "")
    assert len(await engine.execute("SELECT start_id FROM aiki.children")) == 1


async def test_two_runs_of_one_batch_cannot_wait_for_each_other(engine: Engine) -> None:
    for key in ("one", "two"):
        await engine.queued_run(key=key, digest=DIGEST)
    one, two = await engine.claim(await engine.session())
    units = starting(one, start(key="two", digest=DIGEST)), starting(two, start(key="one", digest=DIGEST))
    assert await engine.results(*units) == ["done", "done"]
    results = [(await started(engine, run))[0].result for run in (one, two)]
    assert sorted(results) == ["circle", "existing"]


async def test_a_parent_cancels_its_child(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    stop = Unit(run.fence, 1, [], [], stops=[StopOp(new_id(), child.id, "enough")])
    for _ in range(2):
        (recorded,) = await engine.record(stop)
        assert recorded.result == "done"
    assert await outcomes(engine, run) == [Outcome("taken")]
    status = await engine.status(child.id)
    assert (status.state, status.why) == (State.CANCELLED, f"run {run.fence.run_id} wants it cancelled: enough")


async def test_a_child_gets_what_its_parent_sends_before_it_is_cancelled_by_the_same_unit(engine: Engine) -> None:
    child = start()
    run = await parent_of(engine, child)
    held = await engine.claim_one()
    both = Unit(run.fence, 1, [], [], ops=[op(child.id)], stops=[StopOp(new_id(), child.id)])
    assert await engine.results(both) == ["done"]
    assert [one.kind for one in (await engine.inbox(held.fence.run_id)).arrivals] == ["event", "cancel"]
    assert await outcomes(engine, run) == [Outcome("taken"), Outcome("taken")]


async def test_a_cancel_of_what_has_ended_or_is_no_child_says_so(engine: Engine) -> None:
    gone, other = start(), await engine.queued_run(key="k", digest=DIGEST, priority=-1)
    found = start(key="k", digest=DIGEST)
    run = await parent_of(engine, gone, found)
    assert await engine.results(over(await engine.claim_one())) == ["done"]
    stops = [StopOp(new_id(), run_id) for run_id in (gone.id, other, found.id)]
    assert await engine.results(Unit(run.fence, 1, [], [], stops=stops)) == ["done"]
    results = [(one.result, one.state) for one in await outcomes(engine, run, after=2)]
    assert results == [("ended", State.COMPLETED), ("unknown", None), ("refused", None)]
    assert await engine.state(other) is State.QUEUED


async def test_a_run_that_rests_for_what_it_found_is_woken_by_its_end(engine: Engine) -> None:
    await engine.queued_run(key="k", digest=DIGEST)
    held = await engine.claim_one()
    run = await parent_of(engine, start(key="k", digest=DIGEST, input=Raw(b"{}")))
    assert await engine.results(unit(run.fence, 1, end=parked(1, CHILD))) == ["done"]
    await engine.record(unit(held.fence, end=completed()))
    assert sum((await done(engine)).woken.values()) == 1
