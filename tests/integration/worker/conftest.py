"""Clients and workers of this process, in a namespace of the test's own, on the session's shared daemon or one here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aiki import Client
from aikid.app import App
from tests.integration.daemon.asking import running_app
from tests.servers import Aikid, Nats


@pytest.fixture
async def client(aikid: Aikid, namespace: str, anyio_backend: str) -> AsyncIterator[Client]:
    """A client in the test's namespace."""
    async with Client.connect(aikid.nats_url, namespace=namespace) as made:
        yield made


@pytest.fixture
async def app(database: str, nats: Nats, anyio_backend: str) -> AsyncIterator[App]:
    """A daemon in this process, on a database of the test's own."""
    async with running_app(database, nats.url) as made:
        yield made


@pytest.fixture
async def client_of_app(app: App, nats: Nats, namespace: str) -> AsyncIterator[Client]:
    """A client of that daemon."""
    async with Client.connect(nats.url, namespace=namespace) as made:
        yield made
