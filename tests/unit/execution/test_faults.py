"""What a body does wrong without failing by it is logged once, and is the reason of its run's end."""

# mypy: disable-error-code="unused-coroutine"

from __future__ import annotations

import asyncio
import contextlib
import re
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from aiki.core.errors import EventTimeout
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Limits
from aiki.execution.faults import KEPT
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.waiting import patient
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

Body = Callable[[WorkflowRun], Awaitable[Any]]


@task
async def step(number: int) -> int:
    return number


@task(retry=Retry.none())
async def breaks() -> None:
    raise ValueError("broken")


async def fails() -> None:
    raise KeyError("unseen")


async def logs(run: WorkflowRun, line: str) -> None:
    await run.sleep("1s")


def reason_of(body: Body, *, event: Move = Move.COMPLETE, linger_seconds: float = 10) -> str | None:
    # That this machine is slow is no news.
    limits = Limits(linger_seconds=linger_seconds, slow_step_seconds=patient(30))

    @workflow(name="faulty", version="1")
    async def faulty(run: WorkflowRun) -> None:
        await body(run)

    async def main() -> str | None:
        end = await World(faulty, limits=limits).finish()
        assert end.move is event, bytes(end.error)
        return end.why

    return simulate(main())


# -- what is never awaited


async def drops_a_task(run: WorkflowRun) -> None:
    step.run(run, 1)


async def takes_a_coroutine_for_its_value(run: WorkflowRun) -> None:
    if step.run(run, 1):
        await step.run(run, 2)


async def forgets_a_variable(run: WorkflowRun) -> None:
    async def inner() -> None:
        left = step.run(run, 1)  # noqa: F841 - the mistake of this body
        await step.run(run, 2)

    await inner()


async def drops_a_sleep(run: WorkflowRun) -> None:
    run.sleep("1s")
    await step.run(run, 1)


async def drops_its_own_function(run: WorkflowRun) -> None:
    logs(run, "x")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (drops_a_task, "task 'step' was called and never awaited, so it did not run: write `await step.run(run, ...)`"),
        (takes_a_coroutine_for_its_value, "task 'step' was called and never awaited"),
        (forgets_a_variable, "task 'step' was called and never awaited"),
        (drops_a_sleep, "WorkflowRun.sleep() was called and never awaited"),
        (drops_its_own_function, "logs() was called and never awaited"),
    ],
)
def test_what_is_never_awaited_is_logged_with_its_line_and_is_the_reason_of_the_end(
    body: Body, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    reason = reason_of(body)
    assert reason is not None
    assert reason.startswith("the body has faults: ")
    assert says in reason
    assert re.search(rf"test_faults\.py:[0-9]+ in {body.__name__}$", reason)
    assert [record.message.partition(": ")[2] in reason for record in caplog.records] == [True]


async def leaves_a_call(run: WorkflowRun) -> None:
    asyncio.create_task(step.run(run, 1))  # noqa: RUF006 - the mistake of this body


async def leaves_a_send(run: WorkflowRun) -> None:
    asyncio.create_task(run.send(run.run_id, Event("ping")))  # noqa: RUF006 - the mistake of this body


async def leaves_the_slower(run: WorkflowRun) -> None:
    branches = [asyncio.create_task(step.run(run, 1)), asyncio.create_task(run.sleep("1h"))]
    await asyncio.wait(branches, return_when=asyncio.FIRST_COMPLETED)


async def gives_a_branch_up(run: WorkflowRun) -> None:
    asyncio.create_task(step.run(run, 1)).cancel()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (leaves_a_call, "the body ended without awaiting task step "),
        (leaves_a_send, "the body ended without awaiting send of event ping "),
        (leaves_the_slower, None),
        (gives_a_branch_up, None),
    ],
)
def test_what_a_body_asks_for_with_its_last_breath_is_told_since_nothing_comes_of_it(
    body: Body, says: str | None
) -> None:
    reason = reason_of(body)
    assert reason is None if says is None else says in (reason or "")


def test_a_body_that_returns_a_coroutine_fails_and_says_that_it_is_to_be_awaited() -> None:
    @workflow(name="returns", version="1")
    async def returns(run: WorkflowRun) -> int:
        return step.run(run, 1)  # type: ignore[return-value]  # the mistake this test is about

    async def main() -> bytes:
        return bytes((await World(returns).finish()).error)

    assert b"the body returned a coroutine: task 'step' was called and never awaited" in simulate(main())


def test_a_deadlock_by_a_branch_that_was_never_awaited_names_it() -> None:
    async def body(run: WorkflowRun) -> None:
        ready = asyncio.Event()

        async def makes_ready() -> None:
            ready.set()

        makes_ready()
        await ready.wait()

    assert "makes_ready() was called and never awaited" in str(reason_of(body, event=Move.FAIL))


def test_what_is_awaited_after_the_run_has_left_memory_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def body(run: WorkflowRun) -> None:
        later, branch = step.run(run, 1), asyncio.create_task(fails())
        await run.sleep("1h")
        await later
        with pytest.raises(KeyError):
            await branch

    assert reason_of(body) is None
    assert caplog.records == []


def test_outside_of_bodies_python_tells_as_ever() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        step.run(None, 1)  # type: ignore[arg-type]  # it is never awaited
    assert ["was never awaited" in str(warning.message) for warning in told] == [True]


# -- failures that nobody sees


async def leaves_a_branch(run: WorkflowRun) -> None:
    asyncio.create_task(breaks.run(run))  # noqa: RUF006 - the mistake
    await run.sleep("20s")


async def leaves_many(run: WorkflowRun) -> None:
    for _ in range(50):
        asyncio.create_task(fails())  # noqa: RUF006 - the mistake
        await asyncio.sleep(0)


async def leaves_one_that_the_loop_has_made(run: WorkflowRun) -> None:
    branch = asyncio.ensure_future(fails())
    await asyncio.wait([branch])


async def leaves_a_callback(run: WorkflowRun) -> None:
    asyncio.get_running_loop().call_soon(lambda: [][1])
    await run.sleep("1s")


async def leaves_a_gather(run: WorkflowRun) -> None:
    asyncio.gather(fails(), step.run(run, 1))
    await run.sleep("1s")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (leaves_a_branch, "in leaves_a_branch failed and nobody awaited it: TaskFailed: task 'breaks' failed once"),
        (leaves_many, "in leaves_many failed and nobody awaited it: KeyError: 'unseen'"),
        (leaves_one_that_the_loop_has_made, "in fails failed and nobody awaited it: KeyError"),
        (leaves_a_callback, "IndexError: list index out of range"),
        (leaves_a_gather, "KeyError: 'unseen'"),
    ],
)
def test_a_failure_that_nobody_saw_is_logged_once_and_is_the_reason_of_the_end(
    body: Body, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    reason = reason_of(body)
    assert reason is not None
    assert says in reason
    assert [says in record.message for record in caplog.records] == [True]


async def looks(run: WorkflowRun) -> None:
    branch = asyncio.create_task(fails())
    await asyncio.wait([branch])
    assert branch.exception() is not None


async def gathers(run: WorkflowRun) -> None:
    await asyncio.gather(fails(), breaks.run(run), return_exceptions=True)


async def groups(run: WorkflowRun) -> None:
    async def asyncios() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())

    async def anyios() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fails)

    for fails_in in (asyncios, anyios):
        with pytest.raises(ExceptionGroup):
            await fails_in()


async def cancels(run: WorkflowRun) -> None:
    branch = asyncio.create_task(step.run(run, 1))
    await asyncio.sleep(0)
    branch.cancel()


async def leaves_one_that_is_not_over(run: WorkflowRun) -> None:
    asyncio.create_task(run.sleep("1h"))  # noqa: RUF006 - the mistake


@pytest.mark.parametrize("body", [looks, gathers, groups, cancels, leaves_one_that_is_not_over])
def test_what_somebody_saw_is_no_fault(body: Body, caplog: pytest.LogCaptureFixture) -> None:
    assert reason_of(body) is None
    assert caplog.records == []


def test_a_body_that_fails_tells_its_failure_and_its_faults_apart() -> None:
    async def body(run: WorkflowRun) -> None:
        step.run(run, 1)
        await breaks.run(run)

    reason = reason_of(body, event=Move.FAIL)
    assert "task 'step'" in str(reason)
    assert "breaks" not in str(reason)


# -- how they are kept


def test_the_reason_holds_every_fault_of_a_run_whose_claims_replay_while_each_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(run: WorkflowRun) -> None:
        await step.run(run, 0)
        step.run(run, 1)
        await run.sleep("1h")
        run.sleep("1s")
        await run.sleep("1h")
        asyncio.create_task(fails())  # noqa: RUF006 - the mistake
        await step.run(run, 1)

    reason = str(reason_of(body, linger_seconds=0))
    assert [says in reason for says in ("task 'step'", "WorkflowRun.sleep()", "KeyError")] == [True] * 3
    assert len(caplog.records) == 3


def test_a_fault_in_a_loop_is_told_a_bounded_number_of_times(caplog: pytest.LogCaptureFixture) -> None:
    async def fails_with(number: int) -> None:
        raise KeyError(number)

    async def body(run: WorkflowRun) -> None:
        for number in range(100):
            asyncio.create_task(fails_with(number))  # noqa: RUF006 - the mistake
            await asyncio.sleep(0)
        await run.sleep("1s")

    assert str(reason_of(body)).count("failed and nobody awaited it") == KEPT
    assert len(caplog.records) == KEPT


def test_a_fault_that_no_database_holds_as_it_is_does_not_keep_its_run_from_ending() -> None:
    async def fails_oddly() -> None:
        raise KeyError("\0\ud800" + "x" * 100_000)

    async def body(run: WorkflowRun) -> None:
        asyncio.create_task(fails_oddly())  # noqa: RUF006 - the mistake
        await run.sleep("1s")

    reason = str(reason_of(body))
    assert "\0" not in reason
    assert reason.isprintable()
    assert len(reason) < 1_000


def test_a_body_without_faults_ends_without_a_reason() -> None:
    async def body(run: WorkflowRun) -> None:
        assert await step.run(run, 1) == 1

    assert reason_of(body) is None


def test_an_event_is_told_of_that_its_workflow_does_not_declare(caplog: pytest.LogCaptureFixture) -> None:
    declared, other = Event("declared"), Event("other")

    @workflow(name="declares", version="1", events=[declared])
    async def declares(run: WorkflowRun) -> None:
        with contextlib.suppress(EventTimeout):
            await run.wait_any(declared, other, timeout="1m")

    async def main() -> str | None:
        return (await World(declares).finish()).why

    simulate(main())
    (told,) = [record.message for record in caplog.records]
    assert "it waits for event 'other', which nobody can send: add it to events=[...]" in told
