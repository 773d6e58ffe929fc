"""What a test of a user's may get wrong: each is told with what to write."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from aiki import (
    BodyWarning,
    NotFound,
    PayloadError,
    RunFailed,
    State,
    UsageError,
    Worker,
    WorkflowRun,
    task,
    workflow,
)
from aiki.testing import TestEnv


@task
async def greet(name: str) -> str:
    return f"hello {name}"


@workflow
async def greeting(run: WorkflowRun, name: str) -> str:
    return await greet.run(run, name)


@workflow
async def greeting_tomorrow(run: WorkflowRun, name: str) -> str:
    await run.sleep("1d")
    return await greet.run(run, name)


@workflow
async def only_in_bulk(run: WorkflowRun, number: int) -> int:
    return number


@workflow
async def calls_directly(run: WorkflowRun) -> str:
    return await greet("bob")


@workflow
async def breaks(run: WorkflowRun) -> None:
    await greet.run(run, "bob")
    raise KeyError("no such order")


@pytest.mark.anyio
async def test_an_environment_is_used_in_its_block_alone() -> None:
    env = TestEnv()
    for use in (lambda: env.client, env.now):
        with pytest.raises(UsageError, match="was not entered") as caught:
            use()
        assert caught.value.hint == "async with TestEnv() as env: ..."
    async with env:
        handle = await env.enqueue(greeting, "bob")
    for late in (handle.result(), env.advance("1m"), handle.status()):
        with pytest.raises(UsageError, match="has left its `async with` block"):
            await late
    with pytest.raises(UsageError, match="entered before"):
        await env.__aenter__()


@pytest.mark.anyio
async def test_who_still_waits_behind_the_block_is_told() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(greeting_tomorrow, "bob")

        async def watch() -> list[State]:
            return [change.state async for change in handle.watch()]

        watching = asyncio.create_task(watch())
        await env.advance("1m")
    with pytest.raises(UsageError, match=f"run {handle.run_id} was still waited for when its client was closed"):
        await asyncio.wait_for(watching, 5)


def test_an_environment_belongs_to_one_loop() -> None:
    env = TestEnv()
    asyncio.run(_enter(env))
    with pytest.raises(UsageError, match="entered on another event loop"):
        asyncio.run(_use(env))


@pytest.mark.anyio
async def test_a_thread_of_its_own_cannot_use_it() -> None:
    async with TestEnv() as env:
        with pytest.raises(UsageError, match="entered on another event loop"):
            await asyncio.to_thread(lambda: env.client)


async def _enter(env: TestEnv) -> None:
    await env.__aenter__()


async def _use(env: TestEnv) -> None:
    await env.enqueue(greeting, "bob")


def test_what_is_no_asyncio_loop_is_refused() -> None:
    with pytest.raises(UsageError, match="needs an asyncio loop"):
        _enter(TestEnv()).send(None)  # as trio would


@pytest.mark.anyio
async def test_two_environments_know_nothing_of_each_other() -> None:
    async with TestEnv() as one, TestEnv() as other:
        one.mock(greet).returns("mocked")
        await one.advance("1d")
        first, second = await one.enqueue(greeting, "bob"), await other.enqueue(greeting, "bob")
        assert (await first.result(), await second.result()) == ("mocked", "hello bob")
        assert one.now() > other.now()
        assert [run.run_id for run in (await other.client.runs.list()).runs] == [second.run_id]


@pytest.mark.anyio
async def test_a_worker_has_no_place_there() -> None:
    async with TestEnv() as env:
        with pytest.raises(UsageError, match="takes no Worker"):
            async with Worker(env.client, workflows=[greeting]):
                raise AssertionError


@pytest.mark.anyio
async def test_a_task_that_is_called_directly_in_a_body_fails_the_run_with_the_hint() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(calls_directly)
        with pytest.raises(RunFailed, match="called directly in a workflow"):
            await handle.result()


@pytest.mark.anyio
async def test_an_error_of_a_body_is_seen_with_its_line() -> None:
    async with TestEnv() as env:
        handle = await env.enqueue(breaks)
        with pytest.raises(RunFailed, match="no such order") as caught:
            await handle.result()
        assert "test_misuse.py" in caught.value.traceback
        assert "testing/work.py" not in caught.value.traceback


@pytest.mark.anyio
async def test_a_workflow_that_is_not_named_anywhere_is_asked_for() -> None:
    async with TestEnv() as env:
        call = made_elsewhere()
        with pytest.raises(UsageError, match="knows no workflow 'hidden-one' version '1'") as caught:
            await env.client.enqueue(call)
        assert caught.value.hint == "TestEnv(workflows=[hidden_one, ...])"


def made_elsewhere():
    @workflow(name="hidden-one")
    async def hidden(run: WorkflowRun) -> None: ...

    return hidden.bind()


@pytest.mark.anyio
async def test_a_call_by_name_is_checked_by_the_workflow_that_the_test_names() -> None:
    async with TestEnv() as env:
        assert await (await env.client.enqueue("greeting", {"name": "bob"})).result() == "hello bob"
        with pytest.raises(PayloadError, match="name"):
            await env.client.enqueue("greeting", {"nam": "bob"})
        with pytest.raises(NotFound, match=r"'greating' is not registered .*did you mean 'greeting'"):
            await env.client.enqueue("greating", {"name": "bob"})


@pytest.mark.anyio
async def test_what_goes_through_the_client_is_found_where_the_test_names_it() -> None:
    async with TestEnv() as env:

        @workflow
        async def local(run: WorkflowRun) -> str:
            return await greet.run(run, "local")

        one = await local.enqueue(env.client)
        two = await env.client.enqueue(greeting.bind("bound"))
        three = await env.client.enqueue("greeting", {"name": "named"})
        assert [await one.result(), await two.result(), await three.result()] == [
            "hello local",
            "hello bound",
            "hello named",
        ]


@pytest.mark.anyio
async def test_what_is_enqueued_in_bulk_is_found_where_the_test_names_it() -> None:
    async with TestEnv() as env:
        many = await env.client.enqueue_many(only_in_bulk.bind(number) for number in range(3))
        assert [await handle.result() for handle in many] == [0, 1, 2]


# -- mocks


@pytest.mark.anyio
async def test_a_mock_is_checked_when_it_is_told() -> None:
    async with TestEnv() as env:
        mock = env.mock(greet)
        with pytest.raises(UsageError, match=r"<mock of task greet> cannot return 7: .*str"):
            mock.returns(7)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="returns\\(\\) without a value"):
            mock.returns()
        with pytest.raises(UsageError, match="takes an exception") as caught:
            mock.fails(TimeoutError)  # type: ignore[arg-type]
        assert caught.value.hint == "fails(TimeoutError())"
        with pytest.raises(UsageError, match="how many calls fail"):
            mock.fails(TimeoutError(), times=0)
        with pytest.raises(UsageError, match="takes a task or a workflow"):
            env.mock(bad_greeting)  # type: ignore[arg-type]
        mock.fails(TimeoutError())
        with pytest.raises(UsageError, match="nothing comes after that"):
            mock.returns("x")


@pytest.mark.anyio
async def test_a_mock_that_has_nothing_left_runs_the_task_itself() -> None:
    async with TestEnv() as env:
        mock = env.mock(greet).fails(OSError("no network"), times=1)
        handle = await env.enqueue(greeting, "bob")
        await env.advance("1m")
        assert await handle.result() == "hello bob"
        assert len(mock.calls) == 2


@pytest.mark.anyio
async def test_a_mock_may_run_another_function() -> None:
    async with TestEnv() as env:
        env.mock(greet).runs(lambda name: f"bye {name}")
        assert await (await env.enqueue(greeting, "bob")).result() == "bye bob"


@pytest.mark.anyio
async def test_a_task_that_is_mocked_to_fail_gives_up_as_in_production() -> None:
    async with TestEnv() as env:
        env.mock(greet).fails(OSError("no network"))
        handle = await env.enqueue(greeting, "bob")
        await env.advance("1h")
        with pytest.raises(RunFailed, match="task 'greet' failed 3 times: OSError: no network"):
            await handle.result()


# -- without servers

PROGRAM = """
import importlib.abc
import sys
import time

class Refusing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sqlalchemy", "psycopg", "alembic", "nats", "nkeys", "aikid", "uvloop"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refusing())
import aiki.testing
import asyncio
from aiki import WorkflowRun, workflow

@workflow
async def empty(run: WorkflowRun) -> int:
    return 7

async def main():
    async with aiki.testing.TestEnv() as env:
        assert await (await env.enqueue(empty)).result() == 7

asyncio.run(main())
"""


def test_nothing_of_a_server_is_needed() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


@pytest.mark.anyio
async def test_what_is_no_workflow_is_refused_where_it_is_enqueued() -> None:
    async with TestEnv() as env:
        for wrong in ("greeting", greeting.bind("bob")):
            with pytest.raises(UsageError, match="takes a workflow and its arguments"):
                await env.enqueue(wrong)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_mock_takes_no_other_words() -> None:
    async with TestEnv() as env:
        with pytest.raises(AttributeError, match="return_value"):
            env.mock(greet).return_value = "hello"  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_where_a_task_and_a_body_failed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with TestEnv() as env:
        env.mock(greet).runs(bad_greeting)
        handle = await env.enqueue(greeting, "bob")
        await env.advance("1m")
        with pytest.raises(RunFailed):
            await handle.result()
        env.mock(other_greet).fails(OSError("no network"))
        await env.enqueue(other_greeting)
        await env.advance("1m")
    body, *others = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[2].split(" failed")[0] for text in others] == [
        " workflow 'greeting'",
        " workflow 'other_greeting'",
    ]
    assert "in bad_greeting" in body
    assert "task 'greet' failed" in body


@task
async def other_greet() -> None: ...


@workflow
async def other_greeting(run: WorkflowRun) -> None:
    await other_greet.run(run)


def bad_greeting(name: str) -> str:
    raise LookupError(name)


@workflow
async def reads_the_clock(run: WorkflowRun) -> float:
    return time.time()


@pytest.mark.anyio
async def test_a_body_that_reads_the_clock_is_warned_of() -> None:
    async with TestEnv() as env:
        with pytest.warns(BodyWarning, match=r"time.time\(\) in reads_the_clock"):
            await env.enqueue(reads_the_clock)
