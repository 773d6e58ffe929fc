"""Signs of life: a try that gives none is cut off, and what it has said of how far it came reaches the next one."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from typing import Any

import pytest
from msgspec import Raw

from aiki.core.errors import TaskOutcomeUnknown
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import workflow
from aiki.execution import Pools
from aiki.execution.tasks.processes import Processes
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.rules import recording
from aiki.wire.codec import decoder
from aiki.wire.messages import NULL, Attempt, Said
from tests.unit.execution import beating_tasks
from tests.unit.execution.calling import calling, finish, finish_outside
from tests.waiting import wait_until
from tests.worlds.virtual_loop import VirtualLoop, simulate
from tests.worlds.world import World

seen: list[Any] = []


@pytest.fixture(autouse=True)
def none_seen() -> None:
    seen.clear()


# -- silence


@task(heartbeat_timeout="10s", retry=Retry.fixed(2, "1s"))
async def beats_and_falls_silent(beats: int) -> str:
    seen.append(asyncio.get_running_loop().time())
    for _ in range(beats):
        await asyncio.sleep(9)
        task_run().heartbeat()
    if len(seen) == 1:
        await asyncio.sleep(1000)
    return "done"


def test_a_silent_try_is_cut_off_and_made_again() -> None:
    _, output = finish(calling(beats_and_falls_silent, 0))
    assert output == '["done"]'
    first, second = seen
    assert second - first == pytest.approx(11, abs=0.1)


def test_each_sign_of_life_gives_a_try_its_time_anew() -> None:
    _, output = finish(calling(beats_and_falls_silent, 5))
    assert output == '["done"]'
    first, second = seen
    assert second - first == pytest.approx(5 * 9 + 11, abs=1.1)


def test_a_task_that_is_silent_for_ever_fails_and_says_why() -> None:
    @task(heartbeat_timeout="2s", retry=Retry.none())
    async def hangs() -> None:
        await asyncio.sleep(1000)

    assert finish(calling(hangs))[1] == '["TaskFailed","HeartbeatTimeout","no heartbeat within 2 s",1]'


def test_signs_of_life_come_from_threads_of_a_coroutine_too() -> None:
    @task(heartbeat_timeout="200ms", retry=Retry.none())
    async def delegates() -> str:
        await asyncio.to_thread(works)
        return "done"

    def works() -> None:
        for number in range(10):
            threading.Event().wait(0.05)
            task_run().heartbeat(number)

    assert asyncio.run(ends(calling(delegates))) == '["done"]'


async def ends(flow: Any) -> str:
    end = await World(flow).finish()
    return bytes(end.output).decode()


async def block(seconds: float, *, times: int = 1) -> None:
    """Hold the loop up, as code does that computes, or a process that is stopped."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    for _ in range(times):
        await asyncio.sleep(8)
        loop.seconds += seconds


def test_time_in_which_the_loop_was_blocked_is_no_silence() -> None:
    @workflow(name="held-up", version="1")
    async def held_up(run: WorkflowRun) -> str:
        return await beats_and_falls_silent.run(run, 20)

    async def main() -> None:
        world = World(held_up)
        seen.append("never silent")
        blocking = asyncio.create_task(block(60, times=10))
        end = await world.finish()
        assert bytes(end.output) == b'"done"'
        assert world.attempts == []
        blocking.cancel()

    simulate(main())


def test_a_worker_that_is_stopped_again_and_again_lets_a_try_take_its_time() -> None:
    """It runs for half a second at a time, twelve times between two signs of life."""

    @task(heartbeat_timeout="10s", retry=Retry.none())
    async def steps() -> str:
        for _ in range(12):
            await asyncio.sleep(0.5)
        task_run().heartbeat()
        return "done"

    async def stop() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        while True:
            await asyncio.sleep(0.5)
            loop.seconds += 60

    async def main() -> None:
        world = World(calling(steps))
        stopping = asyncio.create_task(stop())
        end = await world.finish()
        assert bytes(end.output) == b'["done"]'
        stopping.cancel()

    simulate(main())


def test_a_sign_that_was_due_while_the_loop_was_blocked_is_seen() -> None:
    """The last look comes in the very turn of the loop in which the try would wake."""

    @task(heartbeat_timeout="10s", retry=Retry.none())
    async def wakes() -> str:
        for _ in range(2):
            await asyncio.sleep(9.9)
            task_run().heartbeat()
        return "done"

    async def main() -> None:
        world = World(calling(wakes))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)

        def hold_up() -> None:
            loop.seconds += 0.5

        loop.call_at(9.8, hold_up)
        end = await world.finish()
        assert bytes(end.output) == b'["done"]'

    simulate(main())


def test_what_is_silent_under_an_uncertain_lease_is_not_cut_off() -> None:
    async def main() -> None:
        world = World(calling(beats_and_falls_silent, 0))
        world.claim()
        await asyncio.sleep(5)
        world.lease.certain_until = 0.0
        await asyncio.sleep(60)
        assert world.attempts == []
        world.lease.certain_until = math.inf
        end = await world.finish()
        assert bytes(end.output) == b'["done"]'
        assert seen[1] - seen[0] == pytest.approx(71, abs=1.1)

    simulate(main())


def test_what_is_silent_in_a_worker_that_drains_is_not_cut_off() -> None:
    @task(heartbeat_timeout="2s", retry=Retry.none())
    async def long() -> str:
        await asyncio.sleep(30)
        return "done"

    async def main() -> None:
        world = World(calling(long))
        execution = world.claim()
        await asyncio.sleep(1)
        execution.drain()
        await world.settle()
        assert world.end is not None
        assert bytes(world.end.output) == b'["done"]'

    simulate(main())


# -- details


def walks(details: Any, *, fails: bool = True, **options: Any) -> Task[Any, Any]:
    """Return a task that says what is in `details` at its first try, a second apart, then fails or hangs."""

    @task(name="walks", retry=Retry.fixed(5, "1s"), **options)
    async def walks() -> str:
        run = task_run()
        seen.append((run.attempt, run.heartbeat_details))
        for one in details if len(seen) == 1 else ():
            run.heartbeat(one)
            await asyncio.sleep(1)
        if len(seen) == 1 and not fails:
            await asyncio.sleep(1000)
        if len(seen) < 3:
            raise ValueError("again")
        return "done"

    return walks


def test_the_last_details_of_a_try_reach_those_that_follow_it() -> None:
    world, output = finish(calling(walks([{"row": 1}, {"row": 2}])))
    assert output == '["done"]'
    assert seen == [(1, None), (2, {"row": 2}), (3, {"row": 2})]
    assert [bytes(said_in(row).details) for row in world.attempts] == [b'{"row":2}', b'{"row":2}']


def test_details_reach_the_next_try_after_a_crash() -> None:
    async def main() -> None:
        world = World(calling(walks(range(5), fails=False)))
        world.claim()
        await asyncio.sleep(3.5)
        assert [(row.attempt, recording.is_under_way(row)) for row in world.attempts] == [(1, True)]
        world.crash()
        end = await world.finish()
        assert bytes(end.output) == b'["done"]'

    simulate(main())
    # What was cut off with its worker counts as no failure: it is made once more.
    assert seen == [(1, None), (1, 3), (2, 3)]


def test_a_worker_that_stops_in_order_leaves_the_very_last_word() -> None:
    @task
    async def counts() -> int:
        run = task_run()
        seen.append(run.heartbeat_details)
        for number in range(1000 if run.heartbeat_details is None else 0):
            run.heartbeat(number)
            await asyncio.sleep(0.01)
        return 0

    async def main() -> None:
        world = World(calling(counts))
        execution = world.claim()
        await asyncio.sleep(2.555)
        execution.stop()
        await world.settle()
        assert world.ends == [Move.RELEASE]
        await world.finish()

    simulate(main())
    assert seen == [None, pytest.approx(255, abs=2)]


def test_details_are_on_record_at_most_once_a_second() -> None:
    @task
    async def counts() -> None:
        for number in range(950):
            task_run().heartbeat(number)
            await asyncio.sleep(0.01)

    world, _ = finish(calling(counts))
    *said, last = [row for unit in world.units for row in unit.attempts]
    assert len(said) == 10
    numbers = [int(bytes(said_in(row).details)) for row in said]
    assert numbers[0] == 0
    assert numbers[-1] >= 890
    assert (recording.is_under_way(last), last.details) == (True, NULL), "what has ended says nothing any more"


def test_a_try_that_said_something_is_never_taken_for_the_start_of_an_at_most_once_task() -> None:
    """Its code was changed meanwhile: the try before it was none, and it has an outcome of its own."""
    before, after = walks([7], fails=False), walks([], at_most_once=True)
    chosen = [before]

    @workflow(name="changed", version="1")
    async def changed(run: WorkflowRun) -> list[str]:
        try:
            return [await chosen[0].run(run)]
        except TaskOutcomeUnknown:
            return ["unknown"]

    async def main() -> None:
        world = World(changed)
        world.claim()
        await asyncio.sleep(3)
        world.crash()
        chosen[:] = [after]
        seen.append("so that it ends well")
        end = await world.finish()
        assert bytes(end.output) == b'["done"]'

    simulate(main())
    assert seen[-1] == (1, 7)


def test_an_at_most_once_task_may_say_how_far_it_is_and_is_still_not_repeated() -> None:
    async def main() -> None:
        world = World(calling(walks([1, 2, 3], fails=False, at_most_once=True)))
        world.claim()
        await asyncio.sleep(10)
        assert [recording.is_start(row) for row in world.attempts] == [True]
        assert [bytes(said_in(row).details) for row in world.attempts] == [b"3"]
        world.crash()
        end = await world.finish()
        assert json.loads(bytes(end.output))[0] == "TaskOutcomeUnknown"

    simulate(main())
    assert len(seen) == 1


def said_in(row: Attempt) -> Said:
    return decoder(Said).decode(row.details)


def test_progress_stands_beside_the_details_and_neither_touches_the_other() -> None:
    @task
    async def works() -> None:
        run = task_run()
        for number, word in ((0.5, "half"), (7, "x" * 300)):
            run.heartbeat({"row": number})
            run.progress(number, word)
            await asyncio.sleep(2)
        run.heartbeat({"row": 8})
        await asyncio.sleep(2)

    world, _ = finish(calling(works))
    said = [said_in(row) for unit in world.units for row in unit.attempts if row.details != NULL]
    assert said[0] == Said(Raw(b'{"row":0.5}'), 0.5, "half")
    assert said[1] == Said(Raw(b'{"row":7}'), 1.0, "x" * 200)
    assert said[2] == Said(Raw(b'{"row":8}'), 1.0, "x" * 200)


def test_progress_is_a_sign_of_life_and_costs_the_next_try_no_details() -> None:
    @task(heartbeat_timeout="5s", retry=Retry.fixed(3, "1s"))
    async def works() -> None:
        run = task_run()
        seen.append(run.heartbeat_details)
        if run.attempt == 1:
            run.heartbeat(3)
        for step in range(4):
            run.progress(step / 4)
            await asyncio.sleep(4)
        if run.attempt < 3:
            raise ValueError

    finish(calling(works))
    assert seen == [None, 3, 3]


@pytest.mark.parametrize("progress", [(math.nan,), ("half",), (True,), (0.5, b"half")])
def test_a_progress_that_is_none_is_refused(progress: Any) -> None:
    @task(retry=Retry.none())
    async def says() -> None:
        task_run().progress(*progress)

    assert json.loads(finish(calling(says))[1])[1] == "UsageError"


@pytest.mark.parametrize(
    ("details", "reason"),
    [(object(), "at `$`"), ({"at": {1, 2}}, "at `$.at`"), ("x" * 20_000, "have 20,002 bytes, more than 16,384")],
)
def test_details_that_cannot_be_stored_are_refused_in_the_task(details: Any, reason: str) -> None:
    @task(retry=Retry.none())
    async def says() -> None:
        task_run().heartbeat(details)

    kind, error, message, _ = json.loads(finish(calling(says))[1])
    assert (kind, error) == ("TaskFailed", "PayloadError")
    assert reason in message


# -- processes


@pytest.fixture
def pools() -> Any:
    made = Pools(processes=Processes(1))
    yield made
    made.close()


def test_a_process_that_gives_signs_of_life_goes_on(pools: Pools) -> None:
    async def main() -> None:
        world = World(calling(beating_tasks.beats, 25), pools=pools)
        end = await world.finish()
        assert bytes(end.output) == b"[25]"
        assert world.attempts == [], "a sign of life alone goes nowhere"

    asyncio.run(main())


def test_a_silent_process_is_killed_and_the_next_one_has_its_last_details(pools: Pools) -> None:
    finish_outside(calling(beating_tasks.beats, 1), pools)
    assert json.loads(finish_outside(calling(beating_tasks.falls_silent), pools)) == [[2, {"row": 999}]]


def test_what_a_process_says_last_is_on_record_with_its_failure(pools: Pools) -> None:
    assert json.loads(finish_outside(calling(beating_tasks.fails_at_once), pools)) == [[2, 99]]


@pytest.mark.parametrize(
    ("one", "leaves"),
    [(beating_tasks.cleans_up, True), (beating_tasks.sleeps_on, True), (beating_tasks.minds_no_word, False)],
    ids=["cleans up", "hears it late", "minds no word"],
)
def test_a_process_that_nobody_waits_for_has_its_grace_and_is_killed_then(
    one: Task[Any, Any], leaves: bool, tmp_path: Any
) -> None:
    pools = Pools(processes=Processes(1))
    sign, left = tmp_path / "sign", tmp_path / "left"

    @workflow(name="leaves", version="1")
    async def flow(run: WorkflowRun) -> None:
        long = asyncio.ensure_future(one.run(run, str(sign), str(left)))
        await beating_tasks.until_there.run(run, str(sign))
        long.cancel()
        await beating_tasks.beats.run(run, 1)  # the only child is free when the other has ended

    async def main() -> None:
        world = World(flow, pools=pools)
        world.claim()
        await wait_until(lambda: world.execution is None, 60, what="the end")
        assert world.ends == [Move.COMPLETE]

    asyncio.run(main())
    pools.close()
    assert left.exists() is leaves


def test_a_stop_without_a_word_passes_over_a_task_that_could_be_told_to_end(pools: Pools) -> None:
    assert finish_outside(calling(beating_tasks.stops_itself), pools) == '["done"]'
