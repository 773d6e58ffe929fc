"""What a NATS server's `max_payload` means to clients and workers: nothing too large is sent, and all is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from aiki import Client, Handle, PayloadError, RunBlocked, RunFailed, Worker, Workflow, WorkflowRun, task, workflow
from aiki.core.states import State
from aiki.wire.limits import LABELS
from aiki.wire.packing import payload_bytes, room_of
from tests import servers
from tests.servers import Aikid, Nats, Postgres
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

KB = 1024
QUOTES = 2


@task
async def swell(size: int, number: int = 0) -> str:
    return "x" * (size - QUOTES)


@workflow
async def echo(run: WorkflowRun, text: str) -> str:
    return text


@workflow
async def measure(run: WorkflowRun, text: str) -> int:
    return len(text)


@workflow
async def swelling(run: WorkflowRun, size: int) -> int:
    return len(await swell.run(run, size))


@workflow
async def grown(run: WorkflowRun, size: int) -> str:
    return "x" * (size - QUOTES)


@workflow
async def collects(run: WorkflowRun, size: int, parts: int) -> int:
    """Leaves memory after all its results, so that its journal is read again, page by page."""
    found = await asyncio.gather(*(swell.run(run, size, number) for number in range(parts)))
    await run.sleep("400ms")
    return sum(map(len, found))


@workflow
async def sleeps_after(run: WorkflowRun, size: int) -> int:
    found = await swell.run(run, size)
    await run.sleep("2s")
    return len(found)


FLOWS: list[Workflow[..., Any]] = [echo, measure, swelling, grown, collects, sleeps_after]


def text_of(size: int) -> str:
    """Return a text that makes an input of `size` bytes."""
    return "x" * (size - len('{"text":""}'))


@pytest.fixture(scope="module", params=[64 * KB, 512 * KB, 1024 * KB, 8192 * KB], ids=lambda size: f"{size // KB}k")
def served(request: pytest.FixtureRequest, postgres: Postgres, template: str) -> Iterator[tuple[Aikid, int]]:
    """A daemon on a server with that max_payload, and how large a payload may be there."""
    name = f"payload_{request.param}"
    url = postgres.create_database(name, template=template)
    with servers.running_nats(max_payload=request.param) as nats, servers.server_folder() as folder:
        daemon = Aikid(folder, database_url=url, nats_url=nats.url)
        try:
            daemon.start()
            yield daemon, payload_bytes(room_of(request.param))
        finally:
            daemon.close()
    postgres.drop_database(name)


@pytest.fixture
async def client(served: tuple[Aikid, int], namespace: str, anyio_backend: str) -> AsyncIterator[Client]:
    async with Client.connect(served[0].nats_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def limit(served: tuple[Aikid, int]) -> int:
    return served[1]


async def test_an_input_at_the_limit_passes_and_one_byte_more_is_refused_at_once(client: Client, limit: int) -> None:
    with pytest.raises(PayloadError, match=f"{limit + 1:,} bytes"):
        await measure.enqueue(client, text_of(limit + 1))
    async with Worker(client, workflows=FLOWS):
        with pytest.raises(PayloadError, match=f"{limit + 1:,} bytes"):
            await client.enqueue("measure", {"text": text_of(limit + 1)})
        for size in (limit - 1, limit):
            assert await (await measure.enqueue(client, text_of(size))).result(timeout=ENOUGH) > 0


async def test_a_result_at_the_limit_passes_and_one_byte_more_fails_its_run_alone(client: Client, limit: int) -> None:
    async with Worker(client, workflows=FLOWS):
        too_large: list[Handle[Any]] = [await flow.enqueue(client, limit + 1) for flow in (grown, swelling)]
        small = [await echo.enqueue(client, "beside") for _ in range(20)]
        for size in (limit - 1, limit):
            assert len(await (await grown.enqueue(client, size)).result(timeout=ENOUGH)) == size - QUOTES
            assert await (await swelling.enqueue(client, size)).result(timeout=ENOUGH) == size - QUOTES
        for one in small:
            assert await one.result(timeout=ENOUGH) == "beside"
        for handle in too_large:
            with pytest.raises(RunFailed, match=f"{limit + 1:,} bytes"):
                await handle.result(timeout=ENOUGH)


async def test_a_journal_of_the_largest_results_is_written_and_read_again(client: Client, limit: int) -> None:
    async with Worker(client, workflows=FLOWS, linger="10ms"):
        handle = await collects.enqueue(client, limit, 9)
        assert await handle.result(timeout=ENOUGH) == 9 * (limit - QUOTES)
        status = await handle.status()
        assert status.claims > 1, "it never left memory"
        assert status.attempt == 1
        story = [item async for item in client.runs.history(handle.run_id)]
        assert [len(item.value) for item in story if item.move == "entry" and item.value] == [limit - QUOTES] * 9


async def test_large_runs_with_many_labels_go_in_and_are_read(client: Client, limit: int) -> None:
    """All the labels that a run may have are brought beside the largest payload."""
    labels = {f"{n:0>64}": "\U0001f600" * 256 for n in range(LABELS)}
    call = echo.options(labels=labels).bind(text_of(limit))
    handles = await client.enqueue_many([call] * 9)
    async with Worker(client, workflows=FLOWS):
        results = [await handle.result(timeout=ENOUGH) for handle in handles]
    assert {len(result) for result in results} == {len(text_of(limit))}
    statuses = await client.runs.status([handle.run_id for handle in handles])
    assert [one.result for one in statuses] == results
    page = await client.runs.list()
    found = page.runs
    while page.cursor is not None:
        page = await client.runs.list(cursor=page.cursor)
        found += page.runs
    assert {run.run_id for run in found} == {handle.run_id for handle in handles}
    assert await client.runs.input(handles[0].run_id) == {"text": text_of(limit)}


def wide(name: str, fields: int) -> Workflow[..., Any]:
    """Return a workflow whose parameters have a schema of about 50 bytes a field."""
    record = msgspec.defstruct("Wide", [(f"field_{n:0>20}", int, 0) for n in range(fields)])

    async def flow(run: WorkflowRun, value: Any) -> int:
        return len(msgspec.structs.fields(value))

    flow.__annotations__["value"] = record
    return workflow(name=name)(flow)


async def test_a_worker_registers_more_schemas_than_fit_a_message(
    client: Client, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One that fits none is not registered: payloads for it are checked by the worker that runs them.

    Of one that is larger than any schema may be the names alone are.
    """
    flows = [wide(f"wide-{n}", 300) for n in range(40)] + [wide("wider", 2_000), wide("too-wide", 10_000)]
    async with Worker(client, workflows=flows):
        known = {found.name: found.parameters for found in await client.workflows.list()}
        fits = limit > 64 * KB
        assert {name for name, form in known.items() if form is None} == (set() if fits else {"wider"})
        assert known["too-wide"]["properties"] == {"value": {}}
        assert ("the JSON Schema of workflow 'wider'" in caplog.text) is not fits
        with pytest.raises(PayloadError):
            await client.enqueue("wide-7", {"value": {"field_00000000000000000001": "no number"}})
        handle = await client.enqueue("wide-39", {"value": {}})
        assert await handle.result(timeout=ENOUGH) == 300


async def test_a_worker_serves_one_workflow_whose_schema_fits_no_message(client: Client, limit: int) -> None:
    async with Worker(client, workflows=[wide("wider", 2_000)]):
        handle = await client.enqueue("wider", {"value": {}})
        assert await handle.result(timeout=ENOUGH) == 2_000


# -- a server that takes less than it did


@pytest.fixture
def shrinking(database: str) -> Iterator[tuple[Nats, Aikid]]:
    """A daemon on a server of the test's own, which may be started again with another max_payload."""
    with servers.running_nats(max_payload=1024 * KB) as nats, servers.server_folder() as folder:
        daemon = Aikid(folder, database_url=database, nats_url=nats.url)
        try:
            daemon.start()
            yield nats, daemon
        finally:
            daemon.close()


async def test_a_run_that_fits_no_claim_any_more_is_blocked_and_resumes_when_it_does(
    shrinking: tuple[Nats, Aikid], namespace: str
) -> None:
    nats, _ = shrinking
    async with Client.connect(nats.url, namespace=namespace) as client:
        large = await measure.enqueue(client, text_of(200 * KB))
        nats.restart_with(max_payload=64 * KB)
        small = await echo.enqueue(client, "beside")
        async with Worker(client, workflows=FLOWS):
            assert await small.result(timeout=ENOUGH) == "beside"
            with pytest.raises(RunBlocked, match="max_payload of 65,536"):
                await large.result(timeout=ENOUGH)
            with pytest.raises(PayloadError, match="max_payload of 65,536"):
                await client.runs.input(large.run_id)
            nats.restart_with(max_payload=1024 * KB)
            await wait_until(lambda: client.transport.room > 64 * KB, what="the connection to the new server")
            await large.resume()
            assert await large.result(timeout=ENOUGH) > 0


async def test_what_was_recorded_and_fits_no_message_any_more_is_told_and_loses_nothing(
    shrinking: tuple[Nats, Aikid], namespace: str
) -> None:
    nats, _ = shrinking
    async with Client.connect(nats.url, namespace=namespace) as client:
        async with Worker(client, workflows=FLOWS, linger="10ms"):
            done = await grown.enqueue(client, 200 * KB)
            await done.result(timeout=ENOUGH)
            asleep = await sleeps_after.enqueue(client, 200 * KB)
            await until(asleep, State.SLEEPING)
        nats.restart_with(max_payload=64 * KB)
        with pytest.raises(PayloadError, match="max_payload of 65,536"):
            await done.result(timeout=ENOUGH)
        assert (await done.status()).state is State.COMPLETED
        (entry,) = [item async for item in client.runs.history(asleep.run_id) if item.move == "entry"]
        assert (entry.value, "max_payload of 65,536" in (entry.reason or "")) == (None, True)
        async with Worker(client, workflows=FLOWS):
            with pytest.raises(RunBlocked, match="max_payload of 65,536"):
                await asleep.result(timeout=ENOUGH)
        nats.restart_with(max_payload=1024 * KB)
        await wait_until(lambda: client.transport.room > 64 * KB, what="the connection to the new server")
        assert len(await done.result(timeout=ENOUGH)) == 200 * KB - QUOTES
        await asleep.resume()
        async with Worker(client, workflows=FLOWS):
            assert await asleep.result(timeout=ENOUGH) == 200 * KB - QUOTES


async def until(handle: Handle[Any], state: State) -> None:
    async def reached() -> Any:
        return (await handle.status()).state is state

    await wait_until(reached, what=state)
