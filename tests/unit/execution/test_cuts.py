"""Cuts: which outcome has failed a body, looked for through what it raised and why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import pytest

from aiki.core.errors import EventTimeout, SendFailed, TaskFailed
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.execution.cuts import Cut, cut_of, mark
from aiki.inside.event import Event
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.bodies import end_of, quick
from tests.worlds.virtual_loop import VirtualLoop

approved = Event("approved", type=str)
E = TypeVar("E", bound=BaseException)
NOBODY = "0190b0a0-0000-7000-8000-00000000dead"


@task(retry=Retry.none())
async def fails(name: str, seconds: float = 0) -> None:
    await asyncio.sleep(seconds)
    raise ValueError(name)


class OrderFailed(Exception):
    """What a user's code makes of a failure."""


async def by_a_task(run: WorkflowRun) -> None:
    await quick.run(run, "a")
    await fails.run(run, "b")


async def by_a_wait(run: WorkflowRun) -> None:
    await quick.run(run, "a")
    await run.wait_for(approved, timeout="1s")


async def by_a_send(run: WorkflowRun) -> None:
    await quick.run(run, "a")
    await run.send(NOBODY, approved, "alice")


async def by_what_it_raised_from_it(run: WorkflowRun) -> None:
    try:
        await by_a_task(run)
    except TaskFailed as error:
        raise OrderFailed from error


async def by_what_it_raised_while_it_handled_it(run: WorkflowRun) -> None:
    try:
        await by_a_task(run)
    except TaskFailed:
        raise OrderFailed from None


async def by_a_group(run: WorkflowRun) -> None:
    await quick.run(run, "a")
    async with asyncio.TaskGroup() as group:
        group.create_task(fails.run(run, "late", 2))
        group.create_task(fails.run(run, "first", 1))


async def by_a_shared_call_that_had_failed(run: WorkflowRun) -> None:
    await quick.run(run, "a")
    keyed = fails.options(idempotency_key="k")
    with pytest.raises(TaskFailed):
        await keyed.run(run, "b")
    await quick.run(run, "c")
    await keyed.run(run, "b")


@pytest.mark.parametrize(
    "body",
    [
        *(by_a_task, by_a_wait, by_a_send, by_what_it_raised_from_it, by_what_it_raised_while_it_handled_it),
        *(by_a_group, by_a_shared_call_that_had_failed),
    ],
)
def test_a_failed_run_says_which_outcome_has_failed_it(body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]]) -> None:
    assert cut(body) == 2


def test_a_body_that_fails_by_itself_names_no_outcome() -> None:
    async def body(run: WorkflowRun) -> NoReturn:
        await quick.run(run, "a")
        raise OrderFailed

    assert cut(body) is None


def test_a_failure_that_was_handled_before_is_not_that_of_the_run() -> None:
    async def body(run: WorkflowRun) -> NoReturn:
        with pytest.raises(TaskFailed):
            await fails.run(run, "a")
        raise OrderFailed

    assert cut(body) is None


def test_of_a_group_the_first_in_the_journal_counts_whatever_its_place_in_it() -> None:
    late, early = failed(7), failed(3)
    early_by_cause = OrderFailed()
    early_by_cause.__cause__ = early
    assert place(ExceptionGroup("", [OrderFailed(), late, ExceptionGroup("", [early_by_cause])])) == 3


def test_a_group_without_a_failure_of_a_call_goes_by_its_cause() -> None:
    group = ExceptionGroup("", [OrderFailed()])
    group.__context__ = failed(4)
    assert place(group) == 4


def test_causes_that_go_in_a_circle_come_to_an_end() -> None:
    one, other = OrderFailed(), OrderFailed()
    one.__context__, other.__context__ = other, one
    assert cut_of(one) is None


def test_no_code_of_the_users_runs_when_a_cut_is_looked_for() -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the user's code ran")

    class Sly(ExceptionGroup[Exception]):
        __getattribute__ = __bool__ = __len__ = __eq__ = __hash__ = refuse
        __cause__ = __context__ = __dict__ = __class__ = exceptions = property(refuse)

    sly = Sly("", [OrderFailed()])
    vars(BaseException)["__cause__"].__set__(sly, failed(5))
    assert place(sly) == 5


def test_the_failures_of_all_kinds_of_calls_take_a_mark() -> None:
    errors: list[BaseException] = [
        TaskFailed("", task="t", type="T", attempts=1),
        EventTimeout("", events=("e",), seconds=1),
        SendFailed("", run_id="r", event="e", result="full"),
    ]
    assert [place(marked(error, number)) for number, error in enumerate(errors, 1)] == [1, 2, 3]


def place(error: BaseException) -> int | None:
    found = cut_of(error)
    return None if found is None else found.place


def failed(number: int) -> TaskFailed:
    return marked(TaskFailed("", task="t", type="T", attempts=1), number)


def marked(error: E, number: int) -> E:
    loop = VirtualLoop()
    try:
        future = loop.create_future()
        future.set_exception(error)
        mark(future, Cut(number, f"task:t:{number}", 0))
        assert future.exception() is error
    finally:
        loop.close()
    return error


def cut(body: Callable[[WorkflowRun], Coroutine[Any, Any, Any]]) -> int | None:
    end = end_of(body)
    assert end.move is Move.FAIL
    found: int | None = json.loads(bytes(end.error)).get("cut")
    return found
