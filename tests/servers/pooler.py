"""Own a pooler before Postgres, as far as one can hurt: it forgets what a connection has prepared or has asked for.

It reads Postgres's protocol as far as it must to know when a connection idles (manual, chapter "Frontend/Backend
Protocol"). It runs on a thread with a loop of its own, since tests wait in ways that stop theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

_HEADER: Final = 5
_LENGTH: Final = 4
_READY_AND_IDLE: Final = b"Z\x00\x00\x00\x05I"
_FORGET: Final = b"Q\x00\x00\x00\x13DEALLOCATE ALL\x00"


@contextmanager
def running_pooler(database_url: str) -> Iterator[Pooler]:
    """Run a pooler before a server that listens on a socket."""
    pooler = Pooler(database_url)
    thread = threading.Thread(target=pooler.serve, name="pooler", daemon=True)
    thread.start()
    pooler.ready.wait()
    try:
        yield pooler
    finally:
        pooler.stop()
        thread.join()


class Pooler:
    """All links to one database. `every` says after how many statements a connection forgets; 0 is never.

    With `ignores_options` the settings that a client asks for when it connects are left out.
    """

    def __init__(self, database_url: str) -> None:
        given = conninfo_to_dict(database_url)
        self.ready = threading.Event()
        self.url = ""
        self.every = 0
        self.ignores_options = False
        self.forgot = 0
        """How often."""
        self._socket = f"{given['host']}/.s.PGSQL.{given['port']}"
        self._login = f"{given['user']}@127.0.0.1"
        self._database = quote(str(given["dbname"]))
        self._links: set[asyncio.Task[None]] = set()

    def serve(self) -> None:
        """Run until `stop`."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """End all links and the thread."""
        self._loop.call_soon_threadsafe(self._over.set)

    # -- on the thread

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"postgresql://{self._login}:{port}/{self._database}?sslmode=disable&gssencmode=disable"
        self.ready.set()
        await self._over.wait()
        server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(_Link(self, writer, await asyncio.open_unix_connection(self._socket)).run(reader))
        self._links.add(link)
        link.add_done_callback(self._links.discard)


class _Link:
    """One client's connection and ours to the server."""

    def __init__(
        self,
        pooler: Pooler,
        client: asyncio.StreamWriter,
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._pooler = pooler
        self._client = client
        self._answers, self._server = server
        self._statements = 0
        self._is_forgetting = False
        self._free = asyncio.Event()
        """Set while the client's messages may pass."""
        self._free.set()

    async def run(self, requests: asyncio.StreamReader) -> None:
        """Pass messages on until either side closes."""
        pumps = [asyncio.create_task(self._ask(requests)), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._client.close()
            self._server.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _ask(self, requests: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            size = await requests.readexactly(_LENGTH)
            startup = await requests.readexactly(int.from_bytes(size) - _LENGTH)
            self._server.write(_without_options(startup) if self._pooler.ignores_options else size + startup)
            while chunk := await requests.read(1 << 16):
                await self._free.wait()
                self._server.write(chunk)

    async def _answer(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                header = await self._answers.readexactly(_HEADER)
                message = header + await self._answers.readexactly(int.from_bytes(header[1:]) - 4)
                if not self._is_forgetting:
                    self._client.write(message)
                if message == _READY_AND_IDLE:
                    self._idles()

    def _idles(self) -> None:
        if self._is_forgetting:
            self._is_forgetting = False
            self._free.set()
            return
        self._statements += 1
        if self._pooler.every and self._statements % self._pooler.every == 0:
            self._pooler.forgot += 1
            self._is_forgetting = True
            self._free.clear()
            self._server.write(_FORGET)


def _without_options(startup: bytes) -> bytes:
    """Return a startup message (version, then names and values, each with a NUL behind it) with its length."""
    words = startup[_LENGTH:].split(b"\0")
    kept = [pair for pair in zip(words[:-2:2], words[1:-2:2], strict=True) if pair[0] != b"options"]
    body = startup[:_LENGTH] + b"".join(name + b"\0" + value + b"\0" for name, value in kept) + b"\0"
    return (len(body) + _LENGTH).to_bytes(_LENGTH) + body
