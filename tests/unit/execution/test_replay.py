"""What is recorded, in how many commits, and what replay does with it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiki.core.errors import Conflict, TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import Move, State
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import Workflow, workflow
from aiki.execution import divergence
from aiki.execution.deliveries import SPIN
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.model.execution_host import EPOCH, World, simulate

calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@task
async def double(number: int) -> int:
    calls.append(f"double {number}")
    return 2 * number


@task
async def slow(number: int) -> int:
    calls.append(f"slow {number}")
    await asyncio.sleep(5)
    return number


def failure_of(end: End) -> str:
    return bytes(end.error).decode()


def run(
    flow: Workflow[Any, Any], input: bytes = b"{}", *, clock: Callable[[], float] | None = None, **options: Any
) -> World:
    """Run the workflow to its end in a world of its own."""

    async def main() -> World:
        world = World(flow, input, **options)
        await world.finish()
        return world

    return simulate(main(), clock=clock)


def output(world: World) -> str:
    assert world.end is not None
    assert world.end.move is Move.COMPLETE, failure_of(world.end)
    return bytes(world.end.output).decode()


def again(world: World, flow: Workflow[Any, Any] | None = None, *, clock: Callable[[], float] | None = None) -> World:
    """Replay what `world` has recorded, with another workflow if given."""

    async def main() -> World:
        other = World(flow or world.workflow, world.input)
        other.journal, other.attempts = list(world.journal), list(world.attempts)
        await other.finish()
        return other

    return simulate(main(), clock=clock)


@workflow(name="chain", version="1")
async def chain(run: WorkflowRun, length: int) -> int:
    number = 1
    for _ in range(length):
        number = await double.run(run, number)
    return number


def test_tasks_in_a_row_cost_one_commit_each_and_the_last_one_shares_it_with_the_completion() -> None:
    world = run(chain, b'{"length":4}')
    assert output(world) == "16"
    assert [(len(unit.entries), unit.end is not None) for unit in world.units] == [(1, False)] * 3 + [(1, True)]


def test_an_empty_run_is_one_commit() -> None:
    assert [(len(unit.entries), unit.end is not None) for unit in run(chain, b'{"length":0}').units] == [(0, True)]


def test_tasks_that_end_together_are_recorded_together() -> None:
    @workflow(name="fan", version="1")
    async def fan(run: WorkflowRun) -> list[int]:
        return await asyncio.gather(*[double.run(run, number) for number in range(5)])

    world = run(fan)
    assert output(world) == "[0,2,4,6,8]"
    assert [len(unit.entries) for unit in world.units] == [5]


def test_a_task_starts_only_when_the_outcome_before_it_is_durable() -> None:
    async def main() -> None:
        world = World(chain, b'{"length":2}', latency=(3.0,))
        world.claim()
        await asyncio.sleep(2.9)
        assert calls == ["double 1"]
        await asyncio.sleep(0.2)
        assert calls == ["double 1", "double 2"]

    simulate(main())


def test_replay_starts_nothing_again_and_gives_the_same_result() -> None:
    world = run(chain, b'{"length":3}')
    calls.clear()
    other = again(world)
    assert output(other) == output(world)
    assert calls == []
    assert [len(unit.entries) for unit in other.units] == [0]


def test_replay_reads_pages_until_the_whole_journal_is_there() -> None:
    world = run(chain, b'{"length":7}')
    calls.clear()

    async def main() -> World:
        other = World(chain, world.input, page_length=2)
        other.journal = list(world.journal)
        await other.finish()
        return other

    assert output(simulate(main())) == output(world)
    assert calls == []


def test_a_result_is_what_the_journal_holds_also_the_first_time() -> None:
    @dataclass
    class Pair:
        left: float
        right: tuple[int, ...] = ()

    shared = Pair(1, (2, 3))

    @task
    async def pair() -> Pair:
        return shared

    seen: list[Any] = []

    @workflow(name="pairs", version="1")
    async def pairs(run: WorkflowRun) -> None:
        made = await pair.run(run)
        seen.append(made)
        assert made is not shared

    again(run(pairs))
    assert seen == [Pair(1.0, (2, 3)), Pair(1.0, (2, 3))]
    assert [type(made.left) for made in seen] == [float, float]


def test_a_task_gets_its_arguments_as_they_were_when_it_was_asked_for() -> None:
    @task
    async def total(numbers: list[int]) -> int:
        numbers.append(100)
        return sum(numbers)

    @workflow(name="mutates", version="1")
    async def mutates(run: WorkflowRun) -> int:
        numbers = [1, 2]
        asked = asyncio.create_task(total.run(run, numbers))
        await asyncio.sleep(0)
        numbers.append(50)
        assert await asked == 103
        return sum(numbers)

    assert output(run(mutates)) == "53"


def diff_between(old: Workflow[Any, Any], new: Workflow[Any, Any]) -> str:
    world = run(old)
    calls.clear()
    end = again(world, new).end
    assert end is not None
    assert end.move is Move.DIVERGE
    assert calls == [], "a task was started before the divergence was told"
    return end.why or ""


@workflow(name="old", version="1")
async def old(run: WorkflowRun) -> int:
    return await double.run(run, 1) + await double.run(run, 20)


def test_a_changed_input_is_told_with_what_was_recorded_and_what_is_asked() -> None:
    @workflow(name="old", version="1")
    async def changed(run: WorkflowRun) -> int:
        return await double.run(run, 1) + await double.run(run, 21)

    why = diff_between(old, changed)
    assert "entry 2: task double" in why
    assert "returned 40" in why
    assert "+ task double" in why
    assert '{"number":21}' in why
    assert "the input of double has changed" in why
    assert "test_replay.py" in why


@pytest.mark.parametrize("varies", [True, False])
def test_a_worker_whose_hash_seed_is_not_fixed_names_it_as_a_likely_cause(
    monkeypatch: pytest.MonkeyPatch, varies: bool
) -> None:
    monkeypatch.setattr(divergence, "HASH_SEED_VARIES", varies)

    @workflow(name="old", version="1")
    async def other(run: WorkflowRun) -> int:
        return await double.run(run, 20)

    assert ("Start all workers with PYTHONHASHSEED=0" in diff_between(old, other)) is varies


def test_a_removed_call_is_told_when_the_body_ends_early() -> None:
    @workflow(name="old", version="1")
    async def shorter(run: WorkflowRun) -> int:
        return await double.run(run, 1)

    assert "ended with 1 recorded outcomes left" in diff_between(old, shorter)


def test_calls_after_the_recorded_ones_may_change() -> None:
    @workflow(name="old", version="1")
    async def longer(run: WorkflowRun) -> int:
        total = await double.run(run, 20) + await double.run(run, 1)
        return total + await double.run(run, 5)

    assert output(again(run(old), longer)) == "52"


def test_patched_takes_the_old_side_for_recorded_runs_and_the_new_one_for_others() -> None:
    @workflow(name="old", version="1")
    async def patched(run: WorkflowRun) -> int:
        extra = await double.run(run, 100) if run.patched("extra") else 0
        return extra + await double.run(run, 1) + await double.run(run, 20)

    assert output(again(run(old), patched)) == "42"
    fresh = run(patched)
    assert output(fresh) == "242"
    assert output(again(fresh)) == "242"


def test_a_patch_that_is_no_longer_asked_for_is_no_divergence() -> None:
    @workflow(name="old", version="1")
    async def patched(run: WorkflowRun) -> int:
        extra = await double.run(run, 100) if run.patched("extra") else 0
        return extra + await double.run(run, 1)

    @workflow(name="old", version="1")
    async def cleaned(run: WorkflowRun) -> int:
        return await double.run(run, 100) + await double.run(run, 1)

    assert output(again(run(patched), cleaned)) == "202"


def keyed(key: str) -> Task[Any, Any]:
    return slow.options(idempotency_key=key)


def test_calls_with_one_idempotency_key_share_one_execution() -> None:
    @workflow(name="shared", version="1")
    async def shared(run: WorkflowRun) -> list[int]:
        both = await asyncio.gather(keyed("k").run(run, 7), keyed("k").run(run, 7))
        return [*both, await keyed("k").run(run, 7)]

    world = run(shared)
    assert output(world) == "[7,7,7]"
    assert calls == ["slow 7"]
    assert [entry.key for entry in world.journal] == ["task:slow@k"]
    assert output(again(world)) == "[7,7,7]"


def test_an_idempotency_key_with_another_input_is_a_conflict() -> None:
    @workflow(name="conflict", version="1")
    async def conflict(run: WorkflowRun) -> str:
        await keyed("k").run(run, 7)
        with pytest.raises(Conflict):
            await keyed("k").run(run, 8)
        return "told"

    assert output(run(conflict)) == '"told"'


def test_a_shared_call_is_abandoned_when_its_last_caller_leaves() -> None:
    @workflow(name="leaving", version="1")
    async def leaving(run: WorkflowRun) -> str:
        first = asyncio.create_task(keyed("k").run(run, 7))
        second = asyncio.create_task(keyed("k").run(run, 7))
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.sleep(1)
        assert not second.done()
        second.cancel()
        await asyncio.sleep(1)
        return "left"

    world = run(leaving)
    assert output(world) == '"left"'
    assert [entry.key for entry in world.journal] == ["timer:1"] * 3


def test_now_uuid_and_random_are_the_same_on_replay() -> None:
    seen: list[Any] = []

    @workflow(name="own", version="1")
    async def own(run: WorkflowRun) -> None:
        seen.append((run.now(), run.uuid(), run.random()))
        await slow.run(run, 1)
        seen.append((run.now(), run.uuid(), run.random()))

    again(run(own))
    assert seen[:2] == seen[2:]
    assert seen[0][0] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert seen[1][0] - seen[0][0] == timedelta(seconds=5)
    assert seen[0][1] != seen[1][1]


def test_the_runs_log_is_silent_on_replay(caplog: pytest.LogCaptureFixture) -> None:
    @workflow(name="logs", version="1")
    async def logs(run: WorkflowRun) -> None:
        run.log.info("before")
        await slow.run(run, 1)
        run.log.info("after", extra={"more": 1})

    with caplog.at_level(logging.INFO, "aiki.run"):
        again(run(logs))
    assert [record.message for record in caplog.records] == ["before", "after"]
    assert caplog.records[0].__dict__["run_id"].startswith("0190b0a0")


def test_sleep_timeout_and_wait_for_are_durable_timers() -> None:
    @workflow(name="timers", version="1")
    async def timers(run: WorkflowRun) -> list[str]:
        seen = []
        await asyncio.sleep(0.25)
        try:
            async with asyncio.timeout(1):
                await slow.run(run, 1)
        except TimeoutError:
            seen.append("timeout")
        try:
            await asyncio.wait_for(slow.run(run, 2), 2)
        except TimeoutError:
            seen.append("wait_for")
        await run.sleep("1500ms")
        await run.sleep_until(run.now() - timedelta(days=1))
        await run.sleep_until(datetime.fromtimestamp(EPOCH / 1e6 + 100, UTC))
        return seen

    world = run(timers)
    assert output(world) == '["timeout","wait_for"]'
    keys = [entry.key for entry in world.journal]
    assert keys == ["timer:0.25", "timer:1", "timer:2", "timer:1.5", f"until:{EPOCH + 100_000_000}"]
    assert [entry.at - EPOCH for entry in world.journal] == [250_000, 1_250_000, 3_250_000, 4_750_000, 100_000_000]
    assert output(again(world)) == output(world)


def test_an_outcome_that_came_before_a_timer_was_due_is_delivered_before_it() -> None:
    @workflow(name="order", version="1")
    async def order(run: WorkflowRun) -> list[str]:
        seen: list[str] = []

        async def sleeps(seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append(f"slept {seconds}")

        async def works() -> None:
            await slow.run(run, 1)
            seen.append("worked")

        await asyncio.gather(sleeps(6), works(), sleeps(4), sleeps(6))
        return seen

    assert output(run(order)) == '["slept 4","worked","slept 6","slept 6"]'


def test_a_failed_task_raises_in_the_body_and_a_failed_body_fails_the_run() -> None:
    @task
    async def breaks() -> None:
        raise ValueError("no such thing") from KeyError("k")

    once = breaks.options(retry=Retry.none())

    @workflow(name="fails", version="1")
    async def fails(run: WorkflowRun) -> None:
        with pytest.raises(TaskFailed) as caught:
            await once.run(run)
        error = caught.value
        assert (error.task, error.type, error.message, error.attempts) == ("breaks", "ValueError", "no such thing", 1)
        assert error.cause == "KeyError: 'k'"
        assert "in breaks" in error.traceback
        assert "aiki/execution" not in error.traceback
        raise error

    world = run(fails)
    assert world.state is State.FAILED
    assert world.end is not None
    text = failure_of(world.end)
    assert '"type":"TaskFailed"' in text
    assert '"task":"breaks"' in text
    assert "in fails" in text
    assert again(world).state is State.FAILED


def test_a_body_that_goes_round_instead_of_asking_has_diverged() -> None:
    @workflow(name="old", version="1")
    async def spins(run: WorkflowRun) -> None:
        asked = asyncio.create_task(slow.run(run, 1))
        while not asked.done():  # noqa: ASYNC110 - it is what this test is about
            await asyncio.sleep(0)

    @workflow(name="old", version="1")
    async def spins_for_ever(run: WorkflowRun) -> None:
        while True:  # noqa: ASYNC110 - the mistake this test is about
            await asyncio.sleep(0)

    world = run(spins)
    assert world.journal[0].turns is not None
    assert again(world).state is State.COMPLETED
    assert "goes round" in diff_between(spins, spins_for_ever)


@workflow(name="overtaken", version="1")
async def overtaken(run: WorkflowRun) -> int:
    """End by an outcome that was there before the other branch's new call could start."""

    async def goes_on() -> None:
        await double.run(run, 1)
        await slow.run(run, 9)

    behind = asyncio.create_task(goes_on())
    first = asyncio.create_task(double.run(run, 2))
    await asyncio.wait([first])
    return first.result() + int(behind.done())


@workflow(name="second_thoughts", version="1")
async def second_thoughts(run: WorkflowRun) -> int:
    """Take a call back before the body has come to rest or gone round for long."""
    behind = asyncio.create_task(slow.run(run, 9))
    for _ in range(SPIN - 100):
        await asyncio.sleep(0)
    behind.cancel()
    return await double.run(run, 2)


@pytest.mark.parametrize("flow", [overtaken, second_thoughts])
@pytest.mark.parametrize("hasty", ["live", "replay", "both"])
def test_where_a_slice_ends_does_not_decide_what_is_started(flow: Workflow[Any, Any], hasty: str) -> None:
    def clock(when: str) -> Callable[[], float] | None:
        ticks = itertools.count()
        return (lambda: float(next(ticks))) if hasty in (when, "both") else None

    world = run(flow, clock=clock("live"))
    live, length = list(calls), len(world.journal)
    assert output(world) == "4"
    assert "slow 9" not in live
    replayed = again(world, clock=clock("replay"))
    assert output(replayed) == "4"
    assert calls == live, "the replay started a task"
    assert len(replayed.journal) == length
