"""Clients where people have them: made before a fork, left open at the end, interrupted, used on another loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator

import pytest

from aiki import Client, UsageError, Worker, WorkflowRun, workflow
from tests.servers import Aikid
from tests.waiting import patient

pytestmark = pytest.mark.anyio


@workflow(name="forked-echo")
async def echo(run: WorkflowRun, n: int) -> int:
    return n


@pytest.fixture
async def served(client: Client) -> AsyncIterator[None]:
    async with Worker(client, workflows=[echo]):
        yield


async def output(program: str, env: dict[str, str], *, interrupt_at: str = "") -> list[str]:
    """Run a program that has a blocking client, and return the lines that it and its forks have printed."""
    source = "import os\nfrom aiki import Client\nfrom tests.integration.client.test_forks import echo\n"
    # From 3.12 on Python warns of each fork beside threads, and a blocking client has one.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore::DeprecationWarning", "-c", source + textwrap.dedent(program),
        env={**env, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(patient(20)):
        async for line in process.stdout:
            lines.append(line.decode().strip())
            if lines[-1] == interrupt_at:
                process.send_signal(signal.SIGINT)
        await process.wait()
    return lines


async def test_a_blocking_client_connects_anew_in_each_fork(served: None, aiki_env: dict[str, str]) -> None:
    """With handles that were made before; and both sides go on, and close what is theirs."""
    program = """
    with Client.blocking() as client:
        early = client.enqueue(echo.bind(1))
        child = os.fork()
        name = "child" if child == 0 else "parent"
        for n in (2, 3):
            assert client.enqueue(echo.bind(n)).result(timeout="10s") == n
        print(name, early.result(timeout="10s"), client.runs.find(early.run_id) == early.run_id, flush=True)
    if child == 0:
        os._exit(0)
    print(os.waitpid(child, 0)[1])
    """
    assert sorted(await output(program, aiki_env)) == ["0", "child 1 True", "parent 1 True"]


async def test_what_was_begun_before_a_fork_is_not_gone_on_with_in_it(served: None, aiki_env: dict[str, str]) -> None:
    program = """
    with Client.blocking() as client:
        changes = client.enqueue("forked-echo", {"n": 1}, delay="1h").watch()
        next(changes)
        child = os.fork()
        if child == 0:
            try:
                next(changes)
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """
    assert await output(program, aiki_env) == ["UsageError a fork cannot go on with what was begun before it"]


async def test_a_client_that_is_left_open_keeps_no_process(aiki_env: dict[str, str]) -> None:
    program = """
    entered = Client.blocking()
    client = entered.__enter__()
    print(client.runs.summary().counts)
    """
    assert await output(program, aiki_env) == ["[]"]


async def test_an_interrupt_ends_a_wait_at_once(served: None, aiki_env: dict[str, str]) -> None:
    program = """
    with Client.blocking() as client:
        handle = client.enqueue("forked-echo", {"n": 1}, delay="1h")
        try:
            print("waits", flush=True)
            handle.result(timeout="1h")
        except KeyboardInterrupt:
            print("interrupted")
    """
    assert await output(program, aiki_env, interrupt_at="waits") == ["waits", "interrupted"]


async def test_a_closed_client_says_so(aikid: Aikid, namespace: str) -> None:
    def use_it_late() -> None:
        with Client.blocking(aikid.nats_url, namespace=namespace) as client:
            pass
        with pytest.raises(UsageError, match="this client is closed"):
            client.runs.summary()

    await asyncio.to_thread(use_it_late)


async def test_an_async_client_on_another_loop_says_so_at_once(client: Client) -> None:
    handle = client.handle("0190b0a0-0000-7000-8000-000000000001")

    async def use_it() -> list[BaseException]:
        calls = [client.enqueue(echo.bind(1)), client.enqueue_many([echo.bind(1)]), handle.status(), handle.result()]
        ways = [*calls, client.runs.list(), anext(handle.watch())]
        return [out for out in await asyncio.gather(*ways, return_exceptions=True) if isinstance(out, BaseException)]

    errors = await asyncio.to_thread(asyncio.run, use_it())
    assert [type(error) for error in errors] == [UsageError] * 6
    assert {str(error) for error in errors} == {
        "this client was connected on another event loop; each asyncio.run() makes one of its own"
    }


async def test_an_async_client_in_a_fork_says_so_at_once(aiki_env: dict[str, str]) -> None:
    program = """
    import asyncio

    async def enqueue(client):
        try:
            await client.enqueue(echo.bind(1))
        except Exception as error:
            print(type(error).__name__, error, flush=True)

    async def main():
        async with Client.connect() as client:
            child = os.fork()
            if child == 0:
                os._exit(asyncio.Runner().run(enqueue(client)) or 0)
            os.waitpid(child, 0)

    asyncio.run(main())
    """
    (line,) = await output(program, aiki_env)
    assert line.startswith("UsageError this client was connected before this process was forked")
