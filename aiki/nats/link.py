"""Own one connection to one nats-server, from its entry to its end. It is never mended: a new one is opened.

Whatever is read, and however reading ends, the link ends in one place, with its reason. What is written in one turn of
the loop leaves in one piece.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiki.nats.entry import enter, is_refusal
from aiki.nats.errors import Away, NatsError, Refused
from aiki.nats.frames import BrokenStream, Frame, Frames, Info, Message, Ping, Pong, Problem, Unreadable

if TYPE_CHECKING:
    from nats.aio.transport import Transport

    from aiki.core.keyfiles import KeyFiles
    from aiki.core.servers import Server

OPEN_SECONDS: Final = 2.0
"""For one server to greet and to let us in."""
PING_SECONDS: Final = 10.0
SILENT_PINGS: Final = 2
"""A server that says nothing for so many pings is gone: 20 to 30 s for one that is frozen or behind a dead network."""
READ_BYTES: Final = 64 * 1024
WRITE_BYTES: Final = 1024 * 1024
"""After so many bytes a publisher waits until the system has taken them."""
CLOSE_SECONDS: Final = 1.0
_PERMISSIONS: Final = re.compile(r"permissions violation", re.IGNORECASE)

log = logging.getLogger("aiki.nats")


class Link:
    """One connection. Until `serve` nothing is read."""

    def __init__(self, stream: Transport, info: Info) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[NatsError] = loop.create_future()
        """Done when the connection has ended, with the reason."""
        self.info = info
        self._loop = loop
        self._stream = stream
        self._on_message: Callable[[Message], None] | None = None
        self._on_denial: Callable[[str], None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._frames = Frames()
        self._reason: NatsError | None = None
        self._pongs: deque[asyncio.Future[None] | None] = deque()
        """Who waits for the answers to our pings, in their order; None for those that only keep the link alive."""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._written_bytes = 0
        """Since the system was last seen to have taken all."""
        self._pinging: asyncio.TimerHandle | None = None
        self._heard = True
        self._silent_pings = 0

    @classmethod
    async def open(cls, server: Server, keys: KeyFiles, *, name: str, echo: bool) -> Link:
        """Return a link to a server that has let us in. Raises Away or Refused."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return cls(*await enter(server, keys, name=name, echo=echo))
        except TimeoutError as error:
            raise Away(f"{server} does not answer") from error

    def serve(self, on_message: Callable[[Message], None], on_denial: Callable[[str], None]) -> None:
        """Hand on messages from now on, and what the server says about permissions."""
        self._on_message = on_message
        self._on_denial = on_denial
        self._reading = asyncio.create_task(self._read(), name="aiki-nats-link")
        self._pinging = self._loop.call_later(PING_SECONDS, self._keep_alive)

    # -- sending

    def write(self, command: bytes) -> None:
        """Send a command with all else that is written in this turn of the loop."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
        self._unsent_bytes += len(command)
        if self._unsent_bytes > WRITE_BYTES:
            self._flush()

    @property
    def is_full(self) -> bool:
        """Whether so much was written that the system should take it first."""
        return self._written_bytes > WRITE_BYTES

    async def room(self) -> None:
        """Return when there is room again, or the link is lost."""
        taken: asyncio.Future[object] = asyncio.ensure_future(self._drained())
        lost: asyncio.Future[object] = asyncio.shield(self.lost)
        try:
            await asyncio.wait([taken, lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            taken.cancel()

    async def ping(self) -> None:
        """Return when the server has dealt with all that was written before. Raises the reason if the link is lost."""
        if self.lost.done():
            raise self.lost.result()
        pong: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(pong)
        self.write(b"PING\r\n")
        await pong

    async def close(self) -> None:
        """Send what was written, and end."""
        self._flush()
        self.abort()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._stream.wait_closed()  # type: ignore[no-untyped-call]  # what was written is sent before

    def abort(self, reason: NatsError | None = None) -> None:
        """End at once."""
        if self.lost.done():
            return
        if self._pinging is not None:
            self._pinging.cancel()
        if self._reading is not None:
            self._reading.cancel()
        self._stream.close()  # type: ignore[no-untyped-call]
        reason = reason or self._reason or Away("the connection was closed")
        self.lost.set_result(reason)
        for waiting in self._pongs:
            if waiting is not None and not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # whoever waited may have given up: then asyncio need not complain

    def _flush(self) -> None:
        if self._unsent and not self.lost.done():
            self._stream.write(b"".join(self._unsent))
            self._written_bytes += self._unsent_bytes
        self._unsent.clear()
        self._unsent_bytes = 0

    async def _drained(self) -> None:
        with suppress(OSError):  # it is lost, and reading tells why
            await self._stream.drain()  # type: ignore[no-untyped-call]
            self._written_bytes = 0

    # -- receiving

    async def _read(self) -> None:
        reason: NatsError | None = None
        try:
            while data := await self._stream.read(READ_BYTES):
                self._heard = True
                self._receive(data)
        except BrokenStream as error:
            reason = Away(f"what came is not NATS: {error}")
        except OSError as error:
            reason = Away(error.strerror or str(error))
        except Exception as error:
            log.exception("reading from NATS failed: a bug")
            reason = Away(str(error))
        finally:
            self.abort(reason)

    def _receive(self, data: bytes) -> None:
        for frame in self._frames.receive(data):
            if isinstance(frame, Message):
                if self._on_message is not None:
                    self._on_message(frame)
            else:
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        match frame:
            case Ping():
                self.write(b"PONG\r\n")
            case Pong():
                pong = self._pongs.popleft() if self._pongs else None
                if pong is not None and not pong.done():
                    pong.set_result(None)
            case Info():
                self.info = frame
            case Problem(reason):
                self._refused(reason)
            case Unreadable(reason):
                log.debug("a message was dropped: %s", reason)

    def _refused(self, reason: str) -> None:
        log.debug("the server says: %s", reason)
        if _PERMISSIONS.match(reason):
            if self._on_denial is not None:
                self._on_denial(reason)
        elif is_refusal(reason):
            self.abort(Refused(reason))
        else:
            # Most of these end the connection. It is the server that ends it: `Invalid Subject` does not.
            self._reason = Away(reason)

    def _keep_alive(self) -> None:
        self._silent_pings = 0 if self._heard else self._silent_pings + 1
        if self._silent_pings >= SILENT_PINGS:
            self.abort(Away("the server no longer answers"))
            return
        self._heard = False
        self._pongs.append(None)
        self.write(b"PING\r\n")
        self._pinging = self._loop.call_later(PING_SECONDS, self._keep_alive)
