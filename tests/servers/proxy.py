"""Own a TCP proxy before a nats-server: it holds replies back, loses messages, and freezes or cuts the link.

It reads the NATS client protocol as far as it must to know which request a message answers
(docs.nats.io/reference/reference-protocols/nats-protocol). It runs on a thread with a loop of its own, since tests wait
in ways that stop theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_WITH_PAYLOAD: Final = frozenset({b"PUB", b"HPUB", b"MSG", b"HMSG"})
_CHUNK: Final = 1 << 16


@contextmanager
def running_proxy(port: int) -> Iterator[Proxy]:
    """Run a proxy before the nats-server at `port` of the loopback."""
    proxy = Proxy(port)
    thread = threading.Thread(target=proxy.serve, name="proxy", daemon=True)
    thread.start()
    proxy.ready.wait()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()


class Proxy:
    """All links through one port. Its methods may be called on any thread."""

    def __init__(self, port: int) -> None:
        self.ready = threading.Event()
        self.url = ""
        self.held: Counter[str] = Counter()
        """How many replies are held back now, by operation."""
        self.late: Counter[str] = Counter()
        """How many were, and have been delivered."""
        self._port = port
        self._delays: dict[str, Callable[[], float | None]] = {}
        self._kept: list[tuple[str, Callable[[], None]]] = []
        self._links: set[_Link] = set()
        self._lost: set[bytes] = set()
        self._is_cut = False

    def serve(self) -> None:
        """Run until `stop`."""
        asyncio.run(self._serve())

    def stop(self) -> None:
        """End all links and the thread."""
        self._loop.call_soon_threadsafe(self._over.set)

    def hold(self, op: str, delay: Callable[[], float | None] = lambda: None) -> None:
        """From now on hold each reply to `op` back for `delay()` seconds; None is until `let_go`."""
        self._delays[op] = delay

    def let_go(self, op: str) -> None:
        """Hold replies to `op` back no more, and deliver those that wait for this."""
        self._delays.pop(op, None)
        self._loop.call_soon_threadsafe(self._deliver, op)

    def lose(self, word: str) -> None:
        """From now on lose what clients publish to subjects that end with this word."""
        self._lost.add(b"." + word.encode())

    def loses(self, subject: bytes) -> bool:
        """Tell whether what is published there gets lost."""
        return any(subject.endswith(word) for word in self._lost)

    def freeze(self) -> None:
        """Let nothing pass in either direction; connections stay open."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def thaw(self) -> None:
        """Let all pass again, what came meanwhile first."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Close all links, and new ones at once, until `mend`."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._close_links)

    def mend(self) -> None:
        """Let links be made again."""
        self._is_cut = False

    # -- on the thread

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.ready.set()
        await self._over.wait()
        server.close()
        self._flowing.set()
        self._close_links()
        while self._links:  # noqa: ASYNC110 - they end in a turn or two
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.close()
            return
        link = _Link(self, writer, await asyncio.open_connection("127.0.0.1", self._port))
        self._links.add(link)
        try:
            await link.run(reader)
        finally:
            self._links.discard(link)

    def _close_links(self) -> None:
        for link in self._links:
            link.close()

    async def flow(self) -> None:
        """Return when something may pass."""
        await self._flowing.wait()

    def delays(self, op: str) -> bool:
        """Tell whether replies to `op` are held back."""
        return op in self._delays

    def keep(self, op: str, deliver: Callable[[], None]) -> None:
        """Hold a reply back; `deliver` sends it on its way."""
        seconds = self._delays[op]()
        self.held[op] += 1
        if seconds is None:
            self._kept.append((op, deliver))
        else:
            self._loop.call_later(seconds, self._deliver_one, op, deliver)

    def _deliver(self, op: str) -> None:
        kept, self._kept = self._kept, []
        for its_op, deliver in kept:
            if its_op == op:
                self._deliver_one(op, deliver)
            else:
                self._kept.append((its_op, deliver))

    def _deliver_one(self, op: str, deliver: Callable[[], None]) -> None:
        self.held[op] -= 1
        self.late[op] += 1
        deliver()


class _Link:
    """One client's connection and ours to the server."""

    def __init__(
        self,
        proxy: Proxy,
        client: asyncio.StreamWriter,
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._replies, self._server = server
        self._ops: dict[bytes, str] = {}
        """The operation that was asked for, by the subject of its reply."""

    async def run(self, requests: asyncio.StreamReader) -> None:
        """Pass messages on until either side closes."""
        pumps = [
            asyncio.create_task(self._pump(requests, self._pass_request)),
            asyncio.create_task(self._pump(self._replies, self._pass_reply)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        self.close()
        await asyncio.wait(pumps)

    def close(self) -> None:
        """Close both sides."""
        self._client.close()
        self._server.close()

    async def _pump(self, reader: asyncio.StreamReader, passing: Callable[[bytes], None]) -> None:
        buffer = bytearray()
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                buffer += chunk
                await self._proxy.flow()
                for message in _complete(buffer):
                    passing(message)

    def _pass_request(self, message: bytes) -> None:
        words = _words(message)
        if words[0] in _WITH_PAYLOAD and len(words) == (4 if words[0] == b"PUB" else 5) and b".api." in words[1]:
            self._ops[words[2]] = words[1].rpartition(b".")[2].decode()
        if words[0] not in _WITH_PAYLOAD or not self._proxy.loses(words[1]):
            self._server.write(message)

    def _pass_reply(self, message: bytes) -> None:
        words = _words(message)
        op = self._ops.pop(words[1], None) if words[0] in _WITH_PAYLOAD else None
        if op is not None and self._proxy.delays(op):
            self._proxy.keep(op, lambda: self._client.write(message))
        else:
            self._client.write(message)


def _complete(buffer: bytearray) -> Iterator[bytes]:
    """Take complete messages off the front of the buffer."""
    while (end := buffer.find(b"\r\n")) >= 0:
        size = end + 2
        words = _words(buffer[:size])
        if words[0] in _WITH_PAYLOAD:
            size += int(words[-1]) + 2
        if len(buffer) < size:
            return
        yield bytes(buffer[:size])
        del buffer[:size]


def _words(message: bytes | bytearray) -> list[bytes]:
    return bytes(message.partition(b"\r\n")[0]).split() or [b""]
