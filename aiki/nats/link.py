"""Own one connection to one nats-server, from its entry to its end. It is never mended: a new one is opened.

Whatever is read, and however reading ends, the link ends in one place, with its reason. What is written in one turn of
the loop leaves in one piece. What comes is dealt with in the socket's own callback: a task that reads a stream would
cost each message another turn of the loop.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from aiki.nats.entry import enter, is_refusal
from aiki.nats.errors import Away, NatsError, Refused
from aiki.nats.frames import BrokenStream, Frame, Frames, Info, Message, Ping, Pong, Problem, Unreadable

if TYPE_CHECKING:
    from aiki.core.keyfiles import KeyFiles
    from aiki.core.servers import Server
    from aiki.nats.entry import Stream

OPEN_SECONDS: Final = 2.0
"""For one server to greet and to let us in."""
PING_SECONDS: Final = 10.0
SILENT_PINGS: Final = 2
"""A server that says nothing for so many pings is gone: 20 to 30 s for one that is frozen or behind a dead network."""
WRITE_BYTES: Final = 1024 * 1024
"""After so many bytes a publisher waits until the system has taken them."""
CLOSE_SECONDS: Final = 1.0
_PERMISSIONS: Final = re.compile(r"permissions violation", re.IGNORECASE)

log = logging.getLogger("aiki.nats")


class Link(asyncio.Protocol):
    """One connection. What comes before `serve` concerns the connection alone, since nothing was subscribed to."""

    def __init__(self, stream: Stream, info: Info) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[NatsError] = loop.create_future()
        """Done when the connection has ended, with the reason."""
        self.info = info
        self._loop = loop
        self._closed: asyncio.Future[None] = loop.create_future()
        """Done when all that was written is sent or lost, and the socket closed."""
        self._on_message: Callable[[Message], None] | None = None
        self._on_denial: Callable[[str], None] | None = None
        self._frames = Frames()
        self._reason: NatsError | None = None
        self._pongs: deque[asyncio.Future[None] | None] = deque()
        """Who waits for the answers to our pings, in their order; None for those that only keep the link alive."""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._taken: asyncio.Future[None] | None = None
        """While the system has yet to take much of what was written: done when it has."""
        self._pinging: asyncio.TimerHandle | None = None
        self._heard = True
        self._silent_pings = 0
        self._stream = stream
        self._transport, come, ended = stream.hand_over(self)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        if come:
            # At once: in the loop's next turn uvloop reads from the socket before it calls anybody back.
            self.data_received(come)
        if ended:
            loop.call_soon(self.connection_lost, None)

    @classmethod
    async def open(cls, server: Server, keys: KeyFiles, *, name: str, echo: bool, seconds: float | None = None) -> Link:
        """Return a link to a server that has let us in, within `seconds` if that is less than usual.

        Raises Away or Refused.
        """
        most = OPEN_SECONDS if seconds is None else min(OPEN_SECONDS, seconds)
        return cls(*await enter(server, keys, name=name, echo=echo, seconds=most))

    def serve(self, on_message: Callable[[Message], None], on_denial: Callable[[str], None]) -> None:
        """Hand on messages from now on, and what the server says about permissions."""
        self._on_message = on_message
        self._on_denial = on_denial
        if not self.lost.done():
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
        return self._taken is not None

    async def room(self) -> None:
        """Return when there is room again, or the link is lost."""
        if self._taken is not None:
            either: list[asyncio.Future[Any]] = [self._taken, self.lost]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

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
        await asyncio.wait([self._closed], timeout=CLOSE_SECONDS)

    def abort(self, reason: NatsError | None = None) -> None:
        """End at once."""
        if self.lost.done():
            return
        if self._pinging is not None:
            self._pinging.cancel()
        self._transport.close()
        reason = reason or self._reason or Away("the connection was closed")
        self.lost.set_result(reason)
        for waiting in self._pongs:
            if waiting is not None and not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # whoever waited may have given up: then asyncio need not complain

    def _flush(self) -> None:
        if self._unsent and not self.lost.done():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_bytes = 0

    def pause_writing(self) -> None:
        """Take from asyncio that the system takes no more for now."""
        self._taken = self._loop.create_future()

    def resume_writing(self) -> None:
        """Take from asyncio that there is room again."""
        taken, self._taken = self._taken, None
        if taken is not None and not taken.done():
            taken.set_result(None)

    # -- receiving

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        self._heard = True
        try:
            self._receive(data)
        except BrokenStream as error:
            self.abort(Away(f"what came is not NATS: {error}"))
        except Exception as error:
            log.exception("reading from NATS failed: a bug")
            self.abort(Away(str(error)))

    def connection_lost(self, error: Exception | None) -> None:
        """End, however it came: asyncio calls it once."""
        if not self._closed.done():
            self._closed.set_result(None)
        self.abort(Away((isinstance(error, OSError) and error.strerror) or str(error)) if error else None)

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
