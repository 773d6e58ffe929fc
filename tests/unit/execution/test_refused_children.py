"""What a body may not do with children: refused at the call, before anybody is started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiki.core.errors import PayloadError, UsageError
from aiki.core.states import State
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.child import Child
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.limits import FAMILY_DEPTH
from tests.unit.execution.bodies import failure_of
from tests.unit.execution.families import approved, children, grown, keys, raised, sleeper, square
from tests.unit.execution.replays import again, error_of, output, run
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

OTHER = "0190b0a0-0000-7000-8000-000000000002"
kept: list[Child[int]] = []
untyped: Any = square
untyped_sleeper: Any = sleeper


@pytest.fixture(autouse=True)
def _keep_none() -> None:
    kept.clear()


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda run: untyped.start(), "workflow 'square' was given nothing where the run of its parent belongs"),
        (lambda run: untyped.run(7), "a value of type int where the run of its parent belongs"),
        (lambda run: untyped.run(run, "x"), "workflow 'square': expected int, got str at `$.number`"),
        (lambda run: untyped.run(run), "square"),
        (lambda run: untyped_sleeper.options(send=approved.bind("x")).start(run, 1), "send= is for `enqueue`"),
        (lambda run: run.all([1]), "a value of type int where a child belongs"),
        (lambda run: run.all([untyped.bind(1)]), "a value of type Call where a child belongs"),
        (lambda run: untyped_sleeper.options(parent_close="stay").start(run, 1), "parent_close='stay'"),
        (lambda run: untyped(run, 1), "in the body of another: .run(run, ...)"),
    ],
)
def test_what_can_be_no_child_is_refused_at_the_call(call: Callable[[WorkflowRun], Any], why: str) -> None:
    async def body(run: WorkflowRun) -> None:
        await call(run)

    assert why in failure_of(body)


def test_outside_of_its_body_a_run_starts_nobody() -> None:
    found: list[str] = []

    @task
    async def starts(text: str) -> None:
        with pytest.raises(UsageError, match="was called outside of the body of its workflow") as caught:
            await square.start(runs[0], 1)
        found.append(str(caught.value))

    runs: list[WorkflowRun] = []

    async def body(run: WorkflowRun) -> None:
        runs.append(run)
        await starts.run(run, "x")

    raised(body)
    with pytest.raises(UsageError, match="start of workflow 'square' was called outside of the body of its workflow"):
        asyncio.run(_start(runs[0]))
    assert len(found) == 1


async def _start(run: WorkflowRun) -> None:
    await square.start(run, 1)


def test_a_client_is_no_parent() -> None:
    async def body(run: WorkflowRun) -> None:
        await untyped.start(object(), 1)

    assert "a value of type object where the run of its parent belongs" in failure_of(body)


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (lambda run, child: child.result(), "child.result() was called outside of the body of its workflow"),
        (lambda run, child: child.cancel(), "child.cancel() was called outside of the body of its workflow"),
        (lambda run, child: child.send(approved, "x"), "run.send() was called outside of the body of its workflow"),
        (lambda run, child: run.all([child]), "which another run has started"),
    ],
)
def test_a_child_belongs_to_the_body_that_has_started_it(use: Callable[..., Any], why: str) -> None:
    async def owner(run: WorkflowRun) -> None:
        kept.append(await square.start(run, 1))
        await run.sleep("1s")

    async def other(run: WorkflowRun) -> str:
        with pytest.raises(UsageError) as caught:
            await use(run, kept[0])
        return str(caught.value)

    raised(owner)
    assert why in output(run(workflow(name="other", version="1")(other)))


def test_a_run_has_at_most_so_many_ancestors_and_says_so_at_the_call() -> None:
    deepest: list[str] = []

    async def body(run: WorkflowRun, level: int) -> None:
        try:
            await flow.run(run, level + 1)
        except UsageError as error:
            deepest.append(f"{level}: {error}")

    flow = workflow(name="deeper", version="1")(body)

    async def main() -> World:
        world = World(flow, b'{"level":0}')
        await world.finish()
        return world

    world = simulate(main())
    assert world.state is State.COMPLETED
    assert [text.partition(" would")[0] for text in deepest] == [
        f"{FAMILY_DEPTH}: a child of workflow 'deeper'",
    ]


def test_a_wait_for_more_children_than_one_entry_can_take_is_refused() -> None:
    async def body(run: WorkflowRun) -> None:
        await run.all([await square.start(run, 1)] * 10_001)

    world = raised(body)
    assert world.end is not None
    assert "run.all() was given 10,001 children, more than 10,000" in error_of(world.end)


def test_a_result_that_fits_its_type_no_more_raises_where_it_is_asked_for() -> None:
    number = workflow(name="square", version="1")(_text_for_a_number)

    async def body(run: WorkflowRun) -> str:
        child = await number.start(run)
        try:
            return str(await child.result())
        except PayloadError as error:
            return str(error)

    as_deployed = workflow(name="square", version="1")(_a_text)
    world = grown(body, flows=(as_deployed,))
    assert output(world) == "\"result of workflow 'square': expected `int`, got `str` at `$`\""
    assert keys(world) == ["starts", "end"]


async def _text_for_a_number(run: WorkflowRun) -> int:
    return 1


async def _a_text(run: WorkflowRun) -> str:
    return "seven"


@pytest.mark.parametrize("change", ["another input", "one more in front", "one less"])
def test_a_body_that_starts_others_than_are_recorded_has_diverged_and_is_told_which(change: str) -> None:
    async def before(run: WorkflowRun) -> list[int]:
        return await run.all([await square.start(run, number) for number in (1, 2)])

    async def after(run: WorkflowRun) -> list[int]:
        numbers = {"another input": (1, 3), "one more in front": (0, 1, 2), "one less": (1,)}[change]
        return await run.all([await square.start(run, number) for number in numbers])

    world = raised(before)
    repeated = again(world, workflow(name="parent", version="1")(after))
    assert repeated.state is State.BLOCKED
    assert repeated.end is not None
    why = repeated.end.why or ""
    assert not any(unit.starts for unit in repeated.units)
    if change == "one more in front":
        assert "- entry 2: ends of children" in why
        assert "+ start of workflow square [start:square:" in why
        assert 'with {"number":0}' in why
    else:
        assert "- entry 1: starts of children [start:square:" in why


def test_new_starts_after_all_that_is_recorded_are_no_divergence() -> None:
    async def before(run: WorkflowRun) -> list[int]:
        return await run.all([await square.start(run, number) for number in (1, 2)])

    async def after(run: WorkflowRun) -> list[int]:
        return [*await before(run), await square.run(run, 9)]

    world = raised(before)
    longer = workflow(name="parent", version="1")(after)

    async def main() -> World:
        other = World(longer, children=[square])
        other.journal = list(world.journal)
        other.inbox.begin_as(world.inbox)
        other.standing = world.standing
        other.reopen()
        await other.finish()
        return other

    other = simulate(main())
    assert output(other) == "[1,4,81]"
    assert len(children(other)) == 1
