"""Whatever push is lost, and whoever dies: a followed run is whole again within seconds, and its end is always seen."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import anyio
import pytest

from aiki import Client, State, Worker, WorkflowRun, task, workflow
from aiki.definitions.view import CallState, RunView
from aiki.wire import codec
from aiki.wire.messages import FeedNews, RunFeed, RunStatus
from tests.servers import Aikids, Nats
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

gates: dict[int, asyncio.Event] = {}


@task
async def gate(n: int) -> int:
    await gates[n].wait()
    return n


@workflow
async def gated(run: WorkflowRun, count: int) -> int:
    return sum([await gate.run(run, n) for n in range(count)])


class Watched:
    """A run that is followed, and all that was seen of it."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.views: list[RunView] = []
        self._views = client.handle(run_id).follow()

    async def follow(self) -> None:
        async with aclosing(self._views) as views:
            async for view in views:
                self.views.append(view)

    async def has_done(self, count: int) -> None:
        await wait_until(lambda: bool(self.views) and self.views[-1].done == count, 15, what=f"{count} calls")
        view = self.views[-1]
        assert sum(one.state is CallState.DONE for one in view.calls) == count


def open_gates(count: int) -> None:
    gates.update({n: asyncio.Event() for n in range(count)})


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_lost_push_is_made_up_for(start_aikid: Aikids, nats: Nats, lost: int) -> None:
    start_aikid(env={"AIKI_FAILPOINTS": f"feed.before_push=drop@{lost}"})
    open_gates(3)
    async with Client.connect(nats.url) as client, Worker(client, workflows=[gated]):
        handle = await gated.enqueue(client, 3)
        watched = Watched(client, handle.run_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.follow())
            for n in range(3):
                await watched.has_done(n)
                gates[n].set()
        assert watched.views[-1].status.state is State.COMPLETED
        assert [one.state for one in watched.views[-1].calls] == [CallState.DONE] * 3


async def test_a_run_is_followed_on_when_its_daemon_is_killed(start_aikid: Aikids, nats: Nats) -> None:
    first = start_aikid()
    open_gates(2)
    async with Client.connect(nats.url) as client, Worker(client, workflows=[gated]):
        handle = await gated.enqueue(client, 2)
        watched = Watched(client, handle.run_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.follow())
            await watched.has_done(0)
            start_aikid()
            first.kill9()
            gates[0].set()
            await watched.has_done(1)
            gates[1].set()
        assert watched.views[-1].status.result == 1


async def test_forged_pushes_neither_end_nor_break_what_is_followed(client: Client) -> None:
    open_gates(2)
    async with Worker(client, workflows=[gated]):
        handle = await gated.enqueue(client, 2)
        watched = Watched(client, handle.run_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(watched.follow())
            await watched.has_done(0)
            run_id = handle.run_id
            of_nobody = RunStatus("01890000-0000-7000-8000-000000000000", "w", "1", State.FAILED, 1)
            forged = [
                b"\xff",
                b"[]",
                b'{"feeds": [{"run": 1}]}',
                codec.encode(FeedNews(gone=[run_id, of_nobody.id])),
                codec.encode(FeedNews([RunFeed(1, of_nobody, 0, 1, 1)])),
                codec.encode(FeedNews([RunFeed(1, RunStatus(run_id, "w", "1", State.QUEUED, 1), 7, 9, 1 << 40)])),
                codec.encode(FeedNews([RunFeed(1, RunStatus(run_id, "w", "1", State.QUEUED, 1), 0, 9, 1 << 40)])),
            ]
            for data in forged:
                client._follows._on_push(data)
            gates[0].set()
            with anyio.fail_after(patient(20)):
                await watched.has_done(1)
            gates[1].set()
        assert watched.views[-1].status.result == 1


async def test_who_is_slow_sees_the_newest_state(client: Client) -> None:
    open_gates(30)
    async with Worker(client, workflows=[gated]):
        handle = await gated.enqueue(client, 30)
        async with aclosing(handle.follow()) as views:
            await anext(views)
            for one in gates.values():
                one.set()
            assert await handle.result() == sum(range(30))
            with anyio.fail_after(patient(10)):
                rest = [view async for view in views]
        assert rest[-1].status.ended
        assert len(rest) < 15
