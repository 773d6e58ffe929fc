"""Clients and workers of this process on the session's shared daemon, in a namespace of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aiki import Client
from tests.servers import Aikid


@pytest.fixture
async def client(aikid: Aikid, namespace: str, anyio_backend: str) -> AsyncIterator[Client]:
    """A client in the test's namespace."""
    async with Client.connect(aikid.nats_url, namespace=namespace) as made:
        yield made
