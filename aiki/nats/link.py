"""Own one TCP connection to one nats-server, from its greeting to its end. It is never mended: a new one is opened.

Bytes are read by the loop itself (`data_received`): there is no reading task that an exception could end. What is
written in one turn of the loop leaves in one piece.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from aiki.nats.errors import Away, NatsError, Refused
from aiki.nats.frames import BrokenStream, Frame, Frames, Info, Message, Ping, Pong, Problem, Unreadable
from aiki.nats.servers import Server, connect_line

if TYPE_CHECKING:
    import ssl

OPEN_SECONDS: Final = 2.0
"""For one server to greet and to let us in."""
PING_SECONDS: Final = 10.0
SILENT_PINGS: Final = 2
"""A server that says nothing for so many pings is gone: 20 to 30 s for one that is frozen or behind a dead network."""
WRITE_BYTES: Final = 8 * 1024 * 1024
"""When so much waits to be sent, publishers wait too."""
CLOSE_SECONDS: Final = 1.0
_AUTHENTICATION: Final = re.compile(r"authorization|authentication (?!timeout)|not trusted", re.IGNORECASE)
"""What a server calls a refusal of credentials: also `User Authentication Expired` and `… Revoked`."""
_PERMISSIONS: Final = re.compile(r"permissions violation", re.IGNORECASE)

log = logging.getLogger("aiki.nats")


class Link(asyncio.Protocol):
    """One TCP connection. Until `serve` messages are dropped: before TLS anybody on the way could have put them in."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[NatsError] = loop.create_future()
        """Done when the connection has ended, with the reason."""
        self.info = Info()
        self._loop = loop
        self._on_message: Callable[[Message], None] | None = None
        self._on_denial: Callable[[str], None] | None = None
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._reason: NatsError | None = None
        self._pongs: deque[asyncio.Future[None] | None] = deque()
        """Who waits for the answers to our pings, in their order; None for those that only keep the link alive."""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._pinging: asyncio.TimerHandle | None = None
        self._heard = True
        self._silent_pings = 0

    @classmethod
    async def open(cls, server: Server, *, name: str, echo: bool) -> Link:
        """Return a link to a server that has let us in. Raises Away or Refused."""
        link = cls()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await link._loop.create_connection(lambda: link, server.host, server.port)
                await link._enter(server, connect_line(server, name=name, echo=echo))
        except TimeoutError as error:
            link.abort()
            raise Away(f"{server} does not answer") from error
        except (OSError, UnicodeError) as error:  # a host's name can be one that no resolver takes
            link.abort()
            raise Away(f"{server}: {getattr(error, 'strerror', None) or error}") from error
        except BaseException:
            link.abort()
            raise
        return link

    def serve(self, on_message: Callable[[Message], None], on_denial: Callable[[str], None]) -> None:
        """Hand on messages from now on, and what the server says about permissions."""
        self._on_message = on_message
        self._on_denial = on_denial

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
        """Whether more waits to be sent than should."""
        return self._room is not None

    async def room(self) -> None:
        """Return when there is room again, or the link is lost."""
        if self._room is not None:
            await asyncio.shield(self._room)

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
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait([self.lost], timeout=CLOSE_SECONDS)
        self.abort()

    def abort(self, reason: NatsError | None = None) -> None:
        """End at once."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self.lost.done():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_bytes = 0

    # -- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._pinging = self._loop.call_later(PING_SECONDS, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._heard = True
        try:
            for frame in self._frames.receive(data):
                if isinstance(frame, Message):
                    if self._on_message is not None:
                        self._on_message(frame)
                else:
                    self._take(frame)
        except BrokenStream as error:
            self.abort(Away(f"what came is not NATS: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End: whoever waits for the server is told the reason."""
        if self._pinging is not None:
            self._pinging.cancel()
        reason = self._reason or Away(str(exc or "") or "the connection was closed")
        self.lost.set_result(reason)
        self.resume_writing()
        for waiting in (self._greeted, *self._pongs):
            if waiting is not None and not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # whoever waited may have given up: then asyncio need not complain

    def pause_writing(self) -> None:
        """More waits to be sent than should."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    # -- private

    async def _enter(self, server: Server, greeting: bytes) -> None:
        await self._greeted
        if self.info.tls_required or (server.tls and self.info.tls_available):
            await self._encrypt(server)
        elif server.tls:
            raise Away(f"{server} offers no TLS, and its URL says tls://")
        self.write(greeting)
        await self.ping()

    async def _encrypt(self, server: Server) -> None:
        # Bytes that came in the clear must not be read as the beginning of what comes encrypted.
        self._frames = Frames()
        assert self._transport is not None
        self._transport = await self._loop.start_tls(self._transport, self, _trust(), server_hostname=server.name)

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
                if not self._greeted.done():
                    self._greeted.set_result(None)
            case Problem(reason):
                self._refused(reason)
            case Unreadable(reason):
                log.debug("a message was dropped: %s", reason)

    def _refused(self, reason: str) -> None:
        log.debug("the server says: %s", reason)
        if _PERMISSIONS.match(reason):
            if self._on_denial is not None:
                self._on_denial(reason)
        elif _AUTHENTICATION.search(reason):
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


def _trust() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()
