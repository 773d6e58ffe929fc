"""Tries that take too long: coroutines are cancelled, threads given up, processes killed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from aiki.core.errors import TaskCancelled
from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.execution import Pools
from aiki.execution.tasks.threads import Threads
from aiki.inside.task_run import task_run
from tests.unit.execution.calling import calling, finish, finish_outside
from tests.worlds.view import EPOCH

SECOND = 1_000_000


def test_a_coroutine_that_takes_too_long_is_cancelled_and_retried() -> None:
    cancelled: list[int] = []

    @task(timeout="2s", retry=Retry.fixed(2, "1s"))
    async def sleeps() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            cancelled.append(task_run().attempt)

    assert finish(calling(sleeps))[1] == '["TaskFailed","TaskTimeout","no result within 2 s",2]'
    assert cancelled == [1, 2]


def test_a_coroutine_that_will_not_be_cancelled_is_given_up() -> None:
    @task(timeout="1s", cancel_grace="5s", retry=Retry.none())
    async def stubborn() -> None:
        for _ in range(20):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3)

    world, output = finish(calling(stubborn))
    assert output == '["TaskFailed","TaskTimeout","no result within 1 s",1]'
    assert world.journal[0].at == EPOCH + 6 * SECOND


def test_a_thread_that_takes_too_long_is_abandoned(pools: Pools) -> None:
    release, ended = threading.Event(), threading.Event()

    @task(timeout="50ms", retry=Retry.none())
    def blocks() -> None:
        release.wait(10)
        ended.set()

    try:
        assert finish_outside(calling(blocks), pools) == '["TaskFailed","TaskTimeout","no result within 0.05 s",1]'
        assert not ended.is_set()
    finally:
        release.set()
    assert ended.wait(5)


def test_a_thread_that_was_abandoned_hears_of_it_at_its_next_heartbeat(pools: Pools) -> None:
    release, heard = threading.Event(), threading.Event()
    seen: list[bool] = []

    @task(timeout="50ms", retry=Retry.none())
    def works() -> None:
        run = task_run()
        run.heartbeat()
        seen.append(run.cancelled)
        release.wait(10)
        try:
            run.heartbeat()
        except TaskCancelled:
            run.heartbeat()  # to clean up is no offence: it hears of it once
            seen.append(run.cancelled)
            heard.set()
            raise

    try:
        assert finish_outside(calling(works), pools) == '["TaskFailed","TaskTimeout","no result within 0.05 s",1]'
    finally:
        release.set()
    assert heard.wait(5)
    assert seen == [False, True]


def test_a_total_timeout_that_cuts_a_try_off_is_named() -> None:
    @task(timeout="10s", total_timeout="3s", retry=Retry.fixed(9, "0s"))
    async def sleeps() -> None:
        await asyncio.sleep(2)
        raise ValueError

    _, output = finish(calling(sleeps))
    assert output == '["TaskFailed","TotalTimeout","no result within the total timeout of 3 s",2]'


def test_abandoned_threads_do_not_use_up_the_pool() -> None:
    threads, release, done = Threads(limit=1), threading.Event(), threading.Event()

    def blocks() -> None:
        release.wait(10)

    blocked = threads.submit(blocks)
    threads.submit(done.set)
    threads.abandon(blocked)
    assert done.wait(5)
    release.set()
    threads.close()
