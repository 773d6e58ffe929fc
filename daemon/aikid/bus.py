"""Own the daemon's connection to NATS: requests in, replies and pushes out, and the hint stream.

Nothing here is needed for correctness: whatever is lost on the way is asked for again or offered again. The
connection is kept for ever; while it is away, publishing drops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from aiki.core.errors import Unavailable
from aiki.wire import subjects
from aiki.wire.limits import HINTS_PER_ROUTE

log = logging.getLogger("aikid.bus")

_ACK_SECONDS: Final = 5.0
_API_SECONDS: Final = 2.0
_PENDING_MESSAGES: Final = 65_536
_PENDING_BYTES: Final = 256 * 1024 * 1024
_INBOX: Final = "_INBOX."
_NOBODY: Final = f"{subjects.PREFIX}.nobody"
_STREAM: Final = StreamConfig(
    name=subjects.HINT_STREAM,
    subjects=[subjects.HINT_SUBJECTS],
    retention=RetentionPolicy.WORK_QUEUE,
    storage=StorageType.FILE,
    discard=DiscardPolicy.NEW,
    discard_new_per_subject=True,
    max_msgs_per_subject=HINTS_PER_ROUTE,
    duplicate_window=1.0,
    allow_direct=False,
)


class JetStreamDown(Exception):
    """JetStream does not answer; hints wait."""


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """What a route's consumer says: hints not delivered yet, and those delivered but not acked; pulls that wait."""

    pending: int
    ack_pending: int
    waiting: int
    delivered: int
    """How many were ever delivered: it stands still if the consumer starves."""


class Bus:
    """One connection to NATS. `on_return` is called after each reconnect."""

    def __init__(self, url: str, *, on_return: Callable[[], None]) -> None:
        self._url = url
        self._on_return = on_return
        self._nats: Client = Client()
        self._serving: list[Subscription] = []

    @property
    def connected(self) -> bool:
        """Whether NATS can be reached now."""
        return self._nats.is_connected

    async def answers(self) -> bool:
        """Tell whether NATS answers within a second: a frozen server looks connected for up to 30 s.

        Asks on a subject that nobody serves: the server itself says so. (A late PONG after a `flush` that timed out
        would break nats-py's reading loop.)
        """
        if not self._nats.is_connected:
            return False
        try:
            await self._nats.request(_NOBODY, timeout=1)
        except nats.errors.NoRespondersError:
            return True
        except (nats.errors.Error, TimeoutError, OSError):
            return False
        return True

    async def connect(self, *, seconds: float) -> None:
        """Connect. Raises Unavailable if nothing answers within `seconds`."""
        # nats-py sleeps for 2 s after a first connect that fails, so knock first.
        await _knock(self._url, seconds)
        try:
            await self._nats.connect(
                [part.strip() for part in self._url.split(",")],
                name="aikid",
                no_echo=True,
                connect_timeout=2,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.2,  # type: ignore[arg-type]  # any number of seconds is meant
                ping_interval=10,
                max_outstanding_pings=2,
                pending_size=32 * 1024 * 1024,
                error_cb=self._failed,
                reconnected_cb=self._returned,
                disconnected_cb=self._lost,
            )
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Unavailable(f"NATS cannot be reached at {_safe(self._url)}: {error}") from error

    async def serve(self, on_request: Callable[[str, str, bytes], bytes | None]) -> None:
        """Receive requests as a member of the queue group of all daemons: subject, reply subject, data.

        What `on_request` returns is the reply; it may also reply later by `publish`.
        """

        async def deliver(message: Msg) -> None:
            if (reply := on_request(message.subject, message.reply, message.data)) is not None:
                await self.publish(message.reply, reply)

        self._serving.append(
            await self._nats.subscribe(
                subjects.api("*", "*"),
                queue=subjects.QUEUE_GROUP,
                cb=deliver,
                pending_msgs_limit=_PENDING_MESSAGES,
                pending_bytes_limit=_PENDING_BYTES,
            )
        )

    async def listen(self, on_news: Callable[[str, bytes], None]) -> None:
        """Receive the other daemons' news: subject and data."""

        async def deliver(message: Msg) -> None:
            on_news(message.subject, message.data)

        await self._nats.subscribe(subjects.news("*", "*"), cb=deliver)

    async def leave(self) -> None:
        """Leave the queue group: new requests go to other daemons, those received already are still delivered."""
        for subscription in self._serving:
            try:
                await asyncio.wait_for(subscription.drain(), _API_SECONDS)  # type: ignore[no-untyped-call]
            except (nats.errors.Error, TimeoutError, OSError):
                log.debug("the subscription could not be drained")
        self._serving.clear()

    async def publish(self, subject: str, data: bytes) -> None:
        """Send; if NATS is away or the subject is bad, the message is dropped."""
        try:
            await self._nats.publish(subject, data)
        except (nats.errors.Error, OSError, ValueError):
            log.debug("a message to %s was dropped", subject[:200])

    async def aclose(self) -> None:
        """Send what is buffered and close."""
        # close() writes what is pending; a flush() that times out would make nats-py log an error later.
        try:
            await self._nats.close()
        except (nats.errors.Error, OSError):
            log.debug("NATS went away before everything was sent")

    # -- the hint stream

    async def ensure_stream(self) -> bool:
        """Create the stream if there is none; return whether it was created. Raises JetStreamDown."""
        api = self._nats.jsm(timeout=_API_SECONDS)
        try:
            await api.stream_info(subjects.HINT_STREAM)
        except nats.js.errors.NotFoundError:
            pass
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise JetStreamDown(str(error)) from error
        else:
            return False
        try:
            await api.add_stream(_STREAM)
        except nats.js.errors.BadRequestError:
            # Another daemon was first, with the same settings or, after an upgrade, slightly others.
            return False
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise JetStreamDown(str(error)) from error
        return True

    async def ensure_consumer(self, namespace: str, workflow: str, version: str) -> None:
        """Create the route's durable pull consumer, or leave it as it is. Raises JetStreamDown."""
        config = ConsumerConfig(
            durable_name=subjects.consumer(namespace, workflow, version),
            filter_subject=subjects.hint(namespace, workflow, version),
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_ACK_SECONDS,
            max_deliver=-1,
            max_ack_pending=20_000,
            max_waiting=4096,
        )
        try:
            await self._nats.jsm(timeout=_API_SECONDS).add_consumer(subjects.HINT_STREAM, config)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise JetStreamDown(str(error)) from error

    async def consumer_state(self, namespace: str, workflow: str, version: str) -> ConsumerState | None:
        """Return the state of the route's consumer, None if there is none. Raises JetStreamDown."""
        name = subjects.consumer(namespace, workflow, version)
        try:
            info = await self._nats.jsm(timeout=_API_SECONDS).consumer_info(subjects.HINT_STREAM, name)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise JetStreamDown(str(error)) from error
        delivered = info.delivered.consumer_seq if info.delivered else 0
        return ConsumerState(info.num_pending or 0, info.num_ack_pending or 0, info.num_waiting or 0, delivered or 0)

    async def delete_consumer(self, namespace: str, workflow: str, version: str) -> None:
        """Delete the route's consumer, if it is there: the next one starts afresh. Raises JetStreamDown."""
        name = subjects.consumer(namespace, workflow, version)
        try:
            await self._nats.jsm(timeout=_API_SECONDS).delete_consumer(subjects.HINT_STREAM, name)
        except nats.js.errors.NotFoundError:
            return
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise JetStreamDown(str(error)) from error

    async def _failed(self, error: Exception) -> None:
        log.warning("NATS: %s", str(error) or type(error).__name__)

    async def _lost(self) -> None:
        if not self._nats.is_closed:
            log.warning("NATS is gone: reconnecting")

    async def _returned(self) -> None:
        log.info("NATS is back")
        self._on_return()


def may_reply(subject: str) -> bool:
    """Tell whether `subject` is an inbox: a caller must not make the daemon publish anywhere else."""
    return subject.startswith(_INBOX) and not {" ", "*", ">", "\t", "\r", "\n"} & set(subject) and len(subject) < 256


async def _knock(url: str, seconds: float) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    reason: Exception | None = None
    while True:
        for part in url.split(","):
            address = urlsplit(part.strip() if "://" in part else f"nats://{part.strip()}")
            try:
                _, writer = await asyncio.wait_for(
                    asyncio.open_connection(address.hostname, address.port or 4222), timeout=2
                )
            except (OSError, TimeoutError) as error:
                reason = error
            else:
                writer.close()
                return
        if asyncio.get_running_loop().time() >= deadline:
            raise Unavailable(f"NATS cannot be reached at {_safe(url)}: {reason}")
        await asyncio.sleep(0.1)


def _safe(url: str) -> str:
    """Return the URL without its credentials."""
    return ",".join(part.rsplit("@", 1)[-1].removeprefix("nats://") for part in url.split(","))
