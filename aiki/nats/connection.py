"""Own one connection to NATS that is kept for ever: it reconnects by itself, and its subscriptions come back with it.

Callbacks are plain functions on the loop of the connection; what one raises is logged and harms no other message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js import JetStreamManager

from aiki.nats.errors import Away, NatsError, NoReply, NoResponders, TooLarge

_PING_SECONDS: Final = 10
_PINGS_MAX: Final = 2
_RECONNECT_SECONDS: Final = 0.2
_DRAIN_SECONDS: Final = 2.0

log = logging.getLogger("aiki.nats")


@dataclass(frozen=True, slots=True)
class Message:
    """What came: `status` is the server's own word (such as "503"), empty on messages of others."""

    subject: str
    reply: str
    data: bytes
    status: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """What was subscribed to; hand it to `Connection.drain`."""

    _subscription: NatsSubscription


class Connection:
    """A connection to the servers of one cluster. With `echo=False` it does not hear itself."""

    def __init__(self, servers: Sequence[str], *, name: str, echo: bool = True) -> None:
        self.on_lost: list[Callable[[], None]] = []
        """Called when the connection is lost."""
        self.on_return: list[Callable[[], None]] = []
        """Called when it is back: pushes may have been lost meanwhile."""
        self._servers = list(servers)
        self._name = name
        self._echo = echo
        self._nats = Client()
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._nats.is_connected

    @property
    def max_payload(self) -> int:
        """The largest message in bytes, with its headers, that the server takes; it says so when we connect."""
        return self._nats.max_payload

    async def connect(self, *, seconds: float) -> None:
        """Connect. Raises Away if no server lets us in within `seconds`."""
        options: dict[str, Any] = {
            "name": self._name,
            "no_echo": not self._echo,
            "connect_timeout": max(1, int(min(seconds, 2))),
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": _RECONNECT_SECONDS,
            "ping_interval": _PING_SECONDS,
            "max_outstanding_pings": _PINGS_MAX,
            "pending_size": 32 * 1024 * 1024,
            "error_cb": _log_error,
            "disconnected_cb": self._lost,
            "reconnected_cb": self._returned,
        }
        with _errors():
            await asyncio.wait_for(self._nats.connect(self._servers, **options), seconds)

    async def close(self) -> None:
        """Send what was published, and close."""
        # No flush() before: nats-py's close() writes what is pending, and a flush that times out makes it log an error.
        try:
            await self._nats.close()
        except (nats.errors.Error, OSError) as error:
            log.debug("the connection was gone before it was closed: %s", error)

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Send; whether it arrives is not told. Raises NatsError if it cannot be sent."""
        with _errors():
            await self._nats.publish(subject, data, reply)

    def send(self, subject: str, data: bytes) -> None:
        """Send without waiting; what cannot be sent is dropped."""
        task = asyncio.get_running_loop().create_task(self._send(subject, data))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def request(self, subject: str, data: bytes = b"", *, seconds: float) -> Message:
        """Return the reply. Raises NoResponders, NoReply after `seconds`, or another NatsError."""
        with _errors():
            return _message(await self._nats.request(subject, data, timeout=seconds))

    async def subscribe(self, subject: str, on_message: Callable[[Message], None], *, queue: str = "") -> Subscription:
        """Call `on_message` with each message on the subject, or with this member's share of the queue group's."""

        async def deliver(message: Msg) -> None:
            on_message(_message(message))

        with _errors():
            return Subscription(
                await self._nats.subscribe(subject, queue, cb=deliver, pending_msgs_limit=-1, pending_bytes_limit=-1)
            )

    async def drain(self, subscription: Subscription) -> None:
        """End a subscription; messages that are on their way are still delivered. Raises NatsError."""
        with _errors():
            await asyncio.wait_for(subscription._subscription.drain(), _DRAIN_SECONDS)  # type: ignore[no-untyped-call] # noqa: SLF001

    def new_inbox(self) -> str:
        """Return a subject that nobody else knows."""
        return self._nats.new_inbox()

    def jetstream(self, *, seconds: float) -> JetStreamManager:
        """Return the management of streams and consumers, with a deadline for each call."""
        return self._nats.jsm(timeout=seconds)

    async def _send(self, subject: str, data: bytes) -> None:
        try:
            await self.publish(subject, data)
        except NatsError as error:
            log.debug("a message to %s was dropped: %s", subject[:200], error)

    async def _lost(self) -> None:
        if not self._nats.is_closed:
            for tell in self.on_lost:
                tell()

    async def _returned(self) -> None:
        for tell in self.on_return:
            tell()


def _message(message: Msg) -> Message:
    return Message(message.subject, message.reply, message.data, (message.headers or {}).get("Status", ""))


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except nats.errors.NoRespondersError as error:
        raise NoResponders("nobody listens there") from error
    except nats.errors.MaxPayloadError as error:
        raise TooLarge("the message is larger than the server takes") from error
    except (nats.errors.TimeoutError, TimeoutError) as error:
        raise NoReply("no answer in time") from error
    except (nats.errors.ConnectionClosedError, OSError) as error:
        raise Away(str(error) or type(error).__name__) from error
    except (nats.errors.Error, ValueError) as error:
        raise NatsError(str(error) or type(error).__name__) from error


async def _log_error(error: Exception) -> None:
    log.debug("nats: %s", error)
