"""How a body ends, what keeps it going, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import sys
import time

import pytest

from aiki.core.states import Move
from aiki.definitions.workflow import workflow
from aiki.execution.watchdog import Step, Watchdog
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import End
from tests.unit.execution.bodies import end_of, failure_of, quick, wait
from tests.waiting import patient
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_what_would_end_the_worker_fails_the_run(error: BaseException) -> None:
    async def body(run: WorkflowRun) -> None:
        raise error

    assert f'"type":"{type(error).__name__}"' in failure_of(body)


def test_sys_exit_in_a_branch_fails_the_run() -> None:
    async def leaves() -> None:
        sys.exit(3)

    async def body(run: WorkflowRun) -> None:
        await asyncio.gather(leaves(), wait.run(run, "x"))

    assert '"type":"SystemExit","message":"3"' in failure_of(body)


def test_a_result_that_does_not_fit_fails_the_run() -> None:
    @workflow(name="lies", version="1")
    async def lies(run: WorkflowRun) -> int:
        return "text"  # type: ignore[return-value]  # the mistake this test is about

    async def main() -> End:
        return await World(lies).finish()

    assert b'"type":"PayloadError"' in bytes(simulate(main()).error)


def test_a_deadlock_fails_the_run_and_names_where_it_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def body(run: WorkflowRun) -> None:
        await quick.run(run, "x")
        await waits_for_ever()

    text = failure_of(body)
    assert "can never come" in text
    assert "test_bodies.py" in text
    assert "in waits_for_ever" in text


def test_a_wait_for_nothing_is_no_deadlock_while_a_task_is_awaited() -> None:
    async def body(run: WorkflowRun) -> None:
        event = asyncio.Event()

        async def sets() -> None:
            await wait.run(run, "x")
            event.set()

        await asyncio.gather(sets(), event.wait())

    assert end_of(body).move is Move.COMPLETE


def test_a_body_that_spins_still_gets_its_outcomes() -> None:
    async def body(run: WorkflowRun) -> None:
        done: list[str] = []

        async def works() -> None:
            await asyncio.sleep(0.5)
            done.append(await quick.run(run, "x"))

        behind = asyncio.create_task(works())
        while not done:  # noqa: ASYNC110 - it is what this test is about
            await asyncio.sleep(0)
        await behind

    assert end_of(body).move is Move.COMPLETE


def test_a_step_is_watched_by_its_own_limit_whatever_that_of_another_was(caplog: pytest.LogCaptureFixture) -> None:
    watching = Watchdog()
    watching.begin(Step("patient", patient(600)))
    watching.end()
    until = time.perf_counter() + patient(10)
    with caplog.at_level(logging.WARNING, "aiki.execution"):
        watching.begin(Step("hurried", 0.01))
        while time.perf_counter() < until and not caplog.records:
            pass
        watching.end()
    assert "run hurried: its workflow body has blocked" in caplog.records[0].message


def test_a_body_that_blocks_is_logged_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    async def body(run: WorkflowRun) -> None:
        until = time.perf_counter() + 10
        while time.perf_counter() < until and not records:
            pass

    records = caplog.records
    with caplog.at_level(logging.WARNING, "aiki.execution"):
        end_of(body)
    assert "has blocked the worker for" in caplog.records[0].message
    assert "test_bodies.py" in caplog.records[0].message
    assert "in body" in caplog.records[0].message


def test_an_exception_that_nobody_awaits_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("unseen")

    async def body(run: WorkflowRun) -> None:
        forgotten = asyncio.create_task(fails())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del forgotten
        await run.sleep("1s")

    with caplog.at_level(logging.WARNING, "aiki.execution"):
        end_of(body)
    assert "nobody awaited it" in caplog.records[0].message
