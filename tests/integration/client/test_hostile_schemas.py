"""A schema that a worker registered is a stranger's: aikid refuses what is hostile, and a client does all the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import psycopg
import pytest
from msgspec import Raw

from aiki import Client, PayloadError
from aiki.core.errors import AikiError, Unsupported
from aiki.wire.messages import OpenSession, Route
from tests.servers import Aikid
from tests.strangers.schemas import HARMLESS, REFUSED
from tests.waiting import patient

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[object]]]:
    """Listen where hostile schemas point to; yield the port and whoever connected."""
    callers: list[object] = []
    server = await asyncio.start_server(
        lambda _, writer: callers.append(writer.get_extra_info("peername")), "127.0.0.1"
    )
    async with server:
        yield server.sockets[0].getsockname()[1], callers


async def test_aikid_takes_no_hostile_schema(client: Client) -> None:
    for data in REFUSED.values():
        request = OpenSession(str(uuid.uuid4()), "w", [Route("flow", "1", Raw(data))])
        with pytest.raises(PayloadError):
            await client.transport.call(request)
    assert await client.workflows.list() == []


async def test_a_client_neither_follows_nor_compiles_a_hostile_schema(
    client: Client, aikid: Aikid, namespace: str
) -> None:
    async with listening() as (port, callers):
        stored = [data.replace(b"{port}", str(port).encode()) for data in REFUSED.values()]
        with psycopg.connect(aikid.database_url, autocommit=True) as connection:
            for number, data in enumerate(stored):
                connection.execute(
                    "INSERT INTO aiki.routes (namespace, workflow, version, parameters, registered_at)"
                    " VALUES (%s, %s, '1', %s, now())",
                    [namespace, f"flow-{number}", data],
                )
        for number in range(len(stored)):
            async with asyncio.timeout(patient(5)):
                # Unsupported: what was stored is no JSON, so that the whole reply is none.
                with pytest.raises((PayloadError, Unsupported), match=r"schema|reply"):
                    await client.enqueue(f"flow-{number}", {"x": 1}, idempotency_key="k")
        assert callers == []


async def test_a_client_is_done_with_any_schema_soon(client: Client) -> None:
    for number, (form, payload) in enumerate(HARMLESS.values()):
        route = Route(f"flow-{number}", "1", Raw(msgspec.json.encode(form)))
        await client.transport.call(OpenSession(str(uuid.uuid4()), "w", [route]))
        async with asyncio.timeout(patient(5)):
            with suppress(AikiError):
                await client.enqueue(route.workflow, payload, idempotency_key="k")
