"""Own the short ways to a connection that tests of one need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiki.nats import Connection
from tests.waiting import patient


@asynccontextmanager
async def connected(*urls: str) -> AsyncIterator[Connection]:
    connection = Connection(urls, name="test")
    await connection.connect(seconds=patient(3))
    try:
        yield connection
    finally:
        await connection.close()


def echo(connection: Connection, subject: str) -> None:
    """Serve a subject with what is sent to it."""
    connection.subscribe(subject, lambda message: connection.send(message.reply, message.data), queue="echo")
