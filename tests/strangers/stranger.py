"""Own a neighbour that means harm: a socket that speaks NATS without caring what it says.

It publishes bytes as they are, which no client library does, and sees every subject that it may subscribe to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from aiki.nats.frames import Frame, Frames, Message, Ping, Pong, Problem
from tests.waiting import patient

READ_BYTES = 256 * 1024
SEND_BYTES = 256 * 1024
"""What is sent before the server is waited for: it closes the connection of a publisher that it cannot follow."""


class Stranger:
    """One connection to a nats-server. `seen` gets what is published on the subjects that it listens to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen: list[Message] = []
        self.problems: list[str] = []
        """What the server says against it."""
        self._reader = reader
        self._writer = writer
        self._frames = Frames()
        self._pongs: asyncio.Queue[None] = asyncio.Queue()
        self._sids: dict[str, int] = {}

    async def listen(self, subject: str) -> None:
        """Subscribe."""
        self._sids[subject] = len(self._sids) + 1
        await self.send([f"SUB {subject} {self._sids[subject]}\r\n".encode()])

    async def forget(self, subject: str) -> None:
        """Unsubscribe."""
        await self.send([f"UNSUB {self._sids[subject]}\r\n".encode()])

    async def send(self, frames: Iterable[bytes]) -> None:
        """Send bytes of the protocol, and return when the server has dealt with them."""
        self._writer.write(b"".join(frames) + b"PING\r\n")
        async with asyncio.timeout(patient(10)):
            await self._pongs.get()

    async def read(self) -> None:
        """Take in what the server sends, until cancelled."""
        with suppress(ConnectionResetError):
            while data := await self._reader.read(READ_BYTES):
                for frame in self._frames.receive(data):
                    self._take(frame)
        raise AssertionError(f"the server closed the stranger's connection: {self.problems}")

    def _take(self, frame: Frame) -> None:
        match frame:
            case Message():
                self.seen.append(frame)
            case Problem(reason):
                self.problems.append(reason)
            case Pong():
                self._pongs.put_nowait(None)
            case Ping():
                self._writer.write(b"PONG\r\n")


@asynccontextmanager
async def stranger(url: str) -> AsyncIterator[Stranger]:
    """Connect a stranger."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":false}\r\n')
        made = Stranger(reader, writer)
        reading = asyncio.create_task(made.read())
        try:
            yield made
        finally:
            if reading.done():
                reading.result()
            reading.cancel()
    finally:
        writer.close()


def pub(subject: bytes, payload: bytes = b"", *, reply: bytes = b"") -> bytes:
    """Return a PUB."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)


def hpub(subject: bytes, headers: bytes, payload: bytes = b"", *, reply: bytes = b"") -> bytes:
    """Return a PUB with a header block, which may be any bytes."""
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, len(headers), len(headers + payload), headers, payload)
