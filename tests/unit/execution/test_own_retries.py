"""A workflow's own retry: when its body is tried again, from where, and what ends that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import pytest

from aiki.core.errors import Fatal, RetryAfter, TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.options import RunOptions
from aiki.definitions.own_retry import to_rule
from aiki.definitions.task import task
from aiki.definitions.workflow import Workflow, workflow
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.rules import recording
from aiki.rules.histories import read
from aiki.wire.messages import Recorded, Unit
from aiki.wire.messages.own_retry import OwnRetry
from tests.unit.execution.replays import output
from tests.unit.execution.retrying import approved, retried
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

SECOND = 1_000_000
Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]
fails: dict[str, int] = {}
"""How often a task fails from now on, by what it is given."""
tried: list[str] = []
keys: list[str] = []


class Down(Exception):
    """Whatever it is about may be up again later."""


@task(retry=Retry.none())
async def work(name: str) -> str:
    tried.append(name)
    keys.append(task_run().idempotency_key)
    if fails.get(name, 0):
        fails[name] -= 1
        raise Down(name)
    return name


@pytest.fixture(autouse=True)
def _fresh() -> None:
    fails.clear()
    tried.clear()
    keys.clear()


def flow_of(body: Body, **options: Any) -> Workflow[Any, Any]:
    @workflow(name="again", version="1", **options)
    async def flow(run: WorkflowRun) -> Any:
        return await body(run)

    return flow


def lived(body: Body, *, run: OwnRetry | None = None, **options: Any) -> World:
    """Run the body to its end, with these options of its workflow and what is said of the run."""

    async def main() -> World:
        world = World(flow_of(body, **options))
        world.options = RunOptions(retry=run)
        await world.finish()
        return world

    return simulate(main())


def result(world: World) -> Any:
    return json.loads(output(world))


def seconds(world: World) -> list[float]:
    """Return after how many seconds each attempt but the first was due."""
    return [round((unit.end.due_at - EPOCH) / SECOND) for unit in world.units if unit.end and unit.end.due_at]


def why(world: World) -> str:
    assert world.end is not None
    assert world.end.move is Move.FAIL
    return world.end.why or ""


async def steps(run: WorkflowRun) -> list[Any]:
    return [*[await work.run(run, name) for name in ("a", "b", "c")], run.attempt, run.generation]


FIXED = Retry.fixed(3, "10s")


def test_a_body_that_fails_is_tried_again_from_what_failed_it() -> None:
    fails["b"] = 1
    world = lived(steps, retry=FIXED)
    assert result(world) == ["a", "b", "c", 2, 0]
    assert tried == ["a", "b", "b", "c"]
    assert world.ends == [Move.AGAIN, Move.COMPLETE]
    assert len(set(keys)) == 3, "under the keys that its tasks had before"


def test_a_workflow_without_a_retry_fails_at_once() -> None:
    fails["b"] = 1
    assert why(lived(steps)) == ""


def test_a_body_that_goes_on_failing_fails_with_its_last_error() -> None:
    fails["b"] = 9
    world = lived(steps, retry=FIXED)
    assert world.ends == [Move.AGAIN, Move.AGAIN, Move.FAIL]
    assert tried == ["a", "b", "b", "b"]
    assert "Down: b" in bytes(world.end.error).decode() if world.end else False


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry.fixed(3, "10s"), [10, 20]),
        (Retry.exponential(4, "10s", "25s"), [10, 30, 55]),
        (Retry.linear(3, "10s"), [10, 30]),
        (Retry.from_delays(["1s", "1m"]), [1, 61]),
        (Retry.fixed(9, "10s", max_elapsed="35s"), [10, 20, 30]),
        (Retry.none(), []),
    ],
    ids=["fixed", "exponential", "linear", "from_delays", "max_elapsed", "none"],
)
@pytest.mark.parametrize("retry_from", ["failure", "start"])
@pytest.mark.parametrize("is_of_run", [False, True], ids=["declared", "said of the run"])
def test_each_strategy_says_when(retry: Retry, expected: list[float], retry_from: Any, is_of_run: bool) -> None:
    fails["b"] = 99
    if is_of_run:
        world = lived(steps, run=OwnRetry(to_rule(retry), retry_from))
    else:
        world = lived(steps, retry=retry, retry_from=retry_from)
    assert seconds(world) == expected


def test_what_is_said_of_a_run_comes_before_what_its_workflow_declares() -> None:
    fails["b"] = 1
    world = lived(steps, retry=FIXED, run=OwnRetry(since="start"))
    assert result(world) == ["a", "b", "c", 2, 1]
    assert world.ends == [Move.AGAIN, Move.COMPLETE]


def test_a_run_from_its_start_does_all_of_it_again_under_other_keys() -> None:
    fails["b"] = 1
    world = lived(steps, retry=FIXED, retry_from="start")
    assert result(world) == ["a", "b", "c", 2, 1]
    assert tried == ["a", "b", "a", "b", "c"]
    assert len(set(keys)) == 5


def test_time_is_that_of_the_attempt() -> None:
    async def body(run: WorkflowRun) -> int:
        await work.run(run, "a")
        return round(run.now().timestamp() - EPOCH / SECOND)

    for retry_from in ("failure", "start"):
        fails["a"] = 2
        assert result(lived(body, retry=FIXED, retry_from=retry_from)) == 20


@pytest.mark.parametrize("run", [None, "names"])
@pytest.mark.parametrize(
    ("options", "again"),
    [
        ({"only_on": TaskFailed}, True),
        ({"only_on": (KeyError, TaskFailed)}, True),
        ({"only_on": Exception}, True),
        ({"only_on": Down}, False),
        ({"never_on": TaskFailed}, False),
        ({"never_on": Down}, True),
        ({"only_on": TaskFailed, "never_on": Exception}, False),
    ],
)
def test_errors_decide_by_their_classes(options: dict[str, Any], again: bool, run: str | None) -> None:
    fails["b"] = 1
    retry = Retry.fixed(3, "1s", **options)
    world = lived(steps, retry=retry) if run is None else lived(steps, run=OwnRetry(to_rule(retry)))
    assert (Move.AGAIN in world.ends) is again


class Lost(Down):
    """One kind of it."""


@pytest.mark.parametrize("of_run", [False, True])
def test_a_class_stands_for_those_that_are_made_of_it(of_run: bool) -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await work.run(run, "a")
        except TaskFailed as error:
            raise Lost from error

    fails["a"] = 1
    retry = Retry.fixed(3, "1s", only_on=Down)
    world = lived(body, run=OwnRetry(to_rule(retry))) if of_run else lived(body, retry=retry)
    assert world.ends == [Move.AGAIN, Move.COMPLETE]


def test_what_a_person_has_ordered_has_all_attempts_and_all_time_again() -> None:
    fails["b"] = 3
    world = lived(steps, retry=Retry.fixed(2, "10s", max_elapsed="15s"))
    assert world.ends == [Move.AGAIN, Move.FAIL]
    after = retried(world)
    assert after.ends == [Move.AGAIN, Move.COMPLETE]
    assert result(after) == ["a", "b", "c", 4, 0]


def test_fatal_ends_it() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await work.run(run, "a")
        except TaskFailed as error:
            raise Fatal("it makes no sense") from error

    fails["a"] = 1
    assert lived(body, retry=FIXED).ends == [Move.FAIL]


def test_fatal_in_a_group_ends_it() -> None:
    async def fatal() -> NoReturn:
        raise Fatal("it makes no sense")

    async def body(run: WorkflowRun) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work.run(run, "a"))
            group.create_task(fatal())

    fails["a"] = 1
    assert lived(body, retry=FIXED, retry_from="start").ends == [Move.FAIL]


def test_of_a_group_all_must_be_worth_it() -> None:
    async def body(run: WorkflowRun) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work.run(run, "a"))
            group.create_task(work.run(run, "b"))

    fails.update(a=1, b=1)
    assert lived(body, retry=Retry.fixed(3, "1s", only_on=TaskFailed)).ends == [Move.AGAIN, Move.COMPLETE]


def test_retry_after_says_when_whatever_the_strategy_says() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            return await work.run(run, "a")
        except TaskFailed:
            raise RetryAfter("1h") from None

    fails["a"] = 1
    world = lived(body, retry=Retry.fixed(3, "1s", only_on=KeyError))
    assert seconds(world) == [3600]
    assert result(world) == "a"


def test_a_delay_that_is_none_fails_the_run_and_says_so() -> None:
    async def body(run: WorkflowRun) -> str:
        raise RetryAfter("soon")

    world = lived(body, retry=FIXED, retry_from="start")
    assert why(world).startswith("not tried again: ")


def test_a_body_that_fails_by_itself_is_not_tried_again_from_there() -> None:
    async def body(run: WorkflowRun) -> None:
        await work.run(run, "a")
        raise Down

    world = lived(body, retry=FIXED)
    assert world.ends == [Move.FAIL]
    assert "no call has failed the body" in why(world)
    assert lived(body, retry=FIXED, retry_from="start").ends == [Move.AGAIN, Move.AGAIN, Move.FAIL]


def test_a_body_that_has_taken_something_back_is_not_tried_again() -> None:
    async def body(run: WorkflowRun) -> None:
        try:
            await work.run(run, "charge")
        finally:
            await work.run(run, "refund")

    fails["charge"] = 1
    world = lived(body, retry=FIXED)
    assert "has completed work" in why(world)
    assert not read(world.journal).retries
    fails["charge"] = 1
    assert lived(body, retry=FIXED, retry_from="start").ends == [Move.AGAIN, Move.COMPLETE]


@pytest.mark.parametrize("reason", ["requested", "timeout"])
def test_a_run_that_is_to_end_is_not_tried_again(reason: Any) -> None:
    async def main() -> World:
        world = World(flow_of(body, retry=FIXED))
        over = asyncio.create_task(world.finish())
        await asyncio.sleep(1)
        world.cancel(reason)
        await over
        return world

    async def body(run: WorkflowRun) -> None:
        try:
            await run.sleep("1m")
        finally:
            await work.run(run, "refund")

    fails["refund"] = 1
    world = simulate(main())
    assert Move.AGAIN not in world.ends


def test_a_cancel_while_it_waits_reaches_the_body_where_it_goes_on() -> None:
    async def body(run: WorkflowRun) -> str:
        try:
            return await work.run(run, "charge")
        except asyncio.CancelledError:
            await work.run(run, "refund")
            raise

    async def main() -> World:
        world = World(flow_of(body, retry=FIXED))
        over = asyncio.create_task(world.finish())
        await asyncio.sleep(5)
        assert world.ends == [Move.AGAIN]
        world.cancel()
        await over
        return world

    fails["charge"] = 1
    world = simulate(main())
    assert world.ends == [Move.AGAIN, Move.CANCEL]
    assert tried == ["charge", "refund"]


@pytest.mark.parametrize("retry_from", ["failure", "start"])
def test_an_event_that_was_taken_behind_the_cut_is_taken_again(retry_from: Any) -> None:
    async def body(run: WorkflowRun) -> list[str]:
        first = await run.wait_for(approved)
        found = await asyncio.gather(work.run(run, "a"), run.wait_for(approved), return_exceptions=True)
        if errors := [one for one in found if isinstance(one, Exception)]:
            raise errors[0]
        return [first, *[str(one) for one in found]]

    async def main() -> World:
        world = World(flow_of(body, retry=FIXED, retry_from=retry_from))
        world.send(approved.bind("first"))
        over = asyncio.create_task(world.finish())
        await asyncio.sleep(1)
        world.send(approved.bind("second"))
        await over
        return world

    fails["a"] = 2
    world = simulate(main())
    assert result(world) == ["first", "a", "second"]
    assert world.inbox.unread == []


@pytest.mark.parametrize("retry_from", ["failure", "start"])
@pytest.mark.parametrize("seed", range(8))
def test_a_crash_on_either_side_of_it_is_one_attempt(retry_from: Any, seed: int) -> None:
    async def main() -> World:
        world = World(flow_of(steps, retry=FIXED, retry_from=retry_from), seed=seed)

        def crashes(unit: Unit) -> Recorded | None:
            if unit.end is None or unit.end.move is not Move.AGAIN:
                return None
            world.before_record = lambda _: None
            world._pending = unit
            world.crash()  # with the unit on its way: it is written or not
            return recording.FENCED

        world.before_record = crashes
        world.claim()
        await world.settle()
        await world.finish()
        return world

    fails["b"] = 2
    world = simulate(main())
    assert result(world)[:3] == ["a", "b", "c"]
    assert world.attempt == 1 + world.ends.count(Move.AGAIN)
