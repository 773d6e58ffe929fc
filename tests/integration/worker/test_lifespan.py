"""What tasks share: made before the first run, the same for all tasks of a process, and left after the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from aiki import Client, ConfigError, Retry, TaskFailed, UsageError, Worker, WorkflowRun, task, task_run, workflow
from aiki.wire.messages import Claim
from aiki.worker import lifespan as lifespans
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio


@dataclass
class Pools:
    uses: list[str] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)


@task
async def on_the_loop() -> bool:
    pools = task_run().shared(Pools)
    pools.uses.append("loop")
    return pools.loop is asyncio.get_running_loop()


@task
def in_a_thread() -> None:
    task_run().shared(Pools).uses.append("thread")


@task(executor="process", retry=Retry.none())
def in_a_process() -> None:
    task_run().shared(Pools)


@workflow
async def sharing(run: WorkflowRun) -> bool:
    await in_a_thread.run(run)
    return await on_the_loop.run(run)


@workflow
async def apart(run: WorkflowRun) -> str:
    try:
        await in_a_process.run(run)
    except TaskFailed as error:
        return error.message
    return "shared"


@pytest.fixture
def story() -> list[str]:
    return []


@pytest.fixture
def lifespan(story: list[str]) -> Any:
    @asynccontextmanager
    async def pools() -> AsyncIterator[Pools]:
        made = Pools(story)
        story.append("entered")
        yield made
        story.append("left")

    return pools


async def test_tasks_of_a_process_share_what_was_made_before_the_first(
    client: Client, story: Any, lifespan: Any
) -> None:
    async with Worker(client, workflows=[sharing], lifespan=lifespan):
        assert await (await sharing.enqueue(client)).result(timeout=ENOUGH)
        assert await (await sharing.enqueue(client)).result(timeout=ENOUGH)
    assert story == ["entered", "thread", "loop", "thread", "loop", "left"]


async def test_a_task_in_a_process_of_its_own_shares_nothing_and_is_told_so(client: Client, lifespan: Any) -> None:
    async with Worker(client, workflows=[apart], lifespan=lifespan):
        said = await (await apart.enqueue(client)).result(timeout=ENOUGH)
    assert said.startswith("this task shares nothing, and no Pools")


async def test_what_is_shared_has_the_type_that_is_asked_for(client: Client, story: Any) -> None:
    @asynccontextmanager
    async def other() -> AsyncIterator[str]:
        yield "a pool"

    @task(retry=Retry.none())
    async def wrong() -> None:
        task_run().shared(Pools)

    @workflow
    async def flow(run: WorkflowRun) -> str:
        try:
            await wrong.run(run)
        except TaskFailed as error:
            return error.message.removeprefix("this task shares a ").partition(",")[0]
        return ""

    async with Worker(client, workflows=[flow], lifespan=other):
        assert await (await flow.enqueue(client)).result(timeout=ENOUGH) == "str"


async def test_a_lifespan_that_fails_is_told_with_its_own_line_and_nothing_is_claimed(client: Client) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise OSError("the pool's database is away")
        yield

    await sharing.enqueue(client)
    with pytest.raises(ConfigError, match=r"the worker's lifespan failed\n(?s:.*)in broken(?s:.*)database is away"):
        await Worker(client, workflows=[sharing], lifespan=broken).__aenter__()
    assert (await client.runs.summary()).workers == 0


@pytest.mark.parametrize("returned", [None, 7])
async def test_a_lifespan_makes_an_async_context_manager(client: Client, returned: Any) -> None:
    async def forgotten() -> None:
        """An async function that lacks its decorator."""

    for made in (lambda: returned, forgotten):
        with pytest.raises(ConfigError, match="no async context manager") as caught:
            await Worker(client, workflows=[sharing], lifespan=made).__aenter__()  # type: ignore[arg-type]
        assert "asynccontextmanager" in str(caught.value.hint)
    with pytest.raises(UsageError, match="must be a function"):
        Worker(client, workflows=[sharing], lifespan=7)  # type: ignore[arg-type]


async def test_an_end_that_hangs_or_fails_does_not_keep_the_worker(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifespans, "EXIT_SECONDS", 0.05)

    @asynccontextmanager
    async def hangs() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    @asynccontextmanager
    async def fails() -> AsyncIterator[None]:
        yield
        raise OSError("cannot be closed")

    async with Worker(client, workflows=[sharing], lifespan=hangs):
        pass
    async with Worker(client, workflows=[sharing], lifespan=fails):
        pass
    assert "was not left within 0.05 s" in caplog.text
    assert "cannot be closed" in caplog.text


async def test_what_was_entered_is_left_if_the_worker_cannot_start(
    client: Client, story: Any, lifespan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(client, workflows=[sharing], lifespan=lifespan)

    async def refuse() -> None:
        raise OSError("no session")

    monkeypatch.setattr(worker, "_open", refuse)
    with pytest.raises(OSError, match="no session"):
        await worker.__aenter__()
    assert story == ["entered", "left"]


@pytest.mark.parametrize("batch", [1, 3, 200])
async def test_a_claim_asks_for_no_more_than_a_batch(
    client: Client, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    call = client.transport.call

    async def noting(request: Any, **more: Any) -> Any:
        if isinstance(request, Claim):
            limits.append(request.limit)
        return await call(request, **more)

    @workflow
    async def empty(run: WorkflowRun) -> None: ...

    handles = await client.enqueue_many(empty.bind() for _ in range(10))
    monkeypatch.setattr(client.transport, "call", noting)
    async with Worker(client, workflows=[empty], fetch_batch=batch):
        for handle in handles:
            await handle.result(timeout=ENOUGH)
    assert max(limits) == min(batch, 100)


@pytest.mark.parametrize(
    "settings",
    [{"fetch_batch": value} for value in (0, -1, 201, 1.0, True, "5")]
    + [{"idle_poll": value} for value in ("99ms", "0s", "2h")],
)
async def test_the_pace_has_bounds(client: Client, settings: Any) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        Worker(client, workflows=[sharing], **settings)


async def test_an_idle_worker_asks_as_often_as_it_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()
    claims = 0
    call = client.transport.call

    async def noting(request: Any, **more: Any) -> Any:
        nonlocal claims
        if isinstance(request, Claim):
            claims += 1
            if claims == 4:
                asked.set()
        return await call(request, **more)

    monkeypatch.setattr(client.transport, "call", noting)
    async with Worker(client, workflows=[sharing], idle_poll="100ms"):
        # At the default it would take three times five seconds.
        await wait_until(asked.is_set, what="four claims")
