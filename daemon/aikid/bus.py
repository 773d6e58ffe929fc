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

import nats.errors
import nats.js.errors
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from aiki.core.addresses import hide, shown
from aiki.core.errors import Unavailable
from aiki.nats import Connection, Message, NatsError, NoResponders, Subscription
from aiki.wire import subjects
from aiki.wire.limits import HINTS_PER_ROUTE

log = logging.getLogger("aikid.bus")

_ACK_SECONDS: Final = 5.0
_API_SECONDS: Final = 2.0
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
        self._nats = Connection([part.strip() for part in url.split(",")], name="aikid", echo=False)
        self._nats.on_lost.append(lambda: log.warning("NATS is gone: reconnecting"))
        self._nats.on_return += [lambda: log.info("NATS is back"), on_return]
        self._serving: Subscription | None = None

    @property
    def connected(self) -> bool:
        """Whether NATS can be reached now."""
        return self._nats.connected

    async def answers(self) -> bool:
        """Tell whether NATS answers within a second: a frozen server looks connected for up to 30 s.

        Asks on a subject that nobody serves: the server itself says so.
        """
        try:
            await self._nats.request(_NOBODY, seconds=1)
        except NoResponders:
            return True
        except NatsError:
            return False
        return True

    async def connect(self, *, seconds: float) -> None:
        """Connect. Raises Unavailable if nothing answers within `seconds`."""
        # nats-py sleeps for 2 s after a first connect that fails, so knock first.
        await _knock(self._url, seconds)
        try:
            await self._nats.connect(seconds=max(seconds, 2))
        except NatsError as error:
            raise Unavailable(f"NATS cannot be reached at {shown(self._url)}: {hide(str(error), self._url)}") from error

    async def serve(self, on_request: Callable[[str, str, bytes], bytes | None]) -> None:
        """Receive requests as a member of the queue group of all daemons: subject, reply subject, data.

        What `on_request` returns is the reply; it may also reply later by `publish`.
        """

        def deliver(message: Message) -> None:
            if (reply := on_request(message.subject, message.reply, message.data)) is not None:
                self._nats.send(message.reply, reply)

        self._serving = await self._nats.subscribe(subjects.api("*", "*"), deliver, queue=subjects.QUEUE_GROUP)

    async def listen(self, on_news: Callable[[str, bytes], None]) -> None:
        """Receive the other daemons' news: subject and data."""
        await self._nats.subscribe(subjects.news("*", "*"), lambda message: on_news(message.subject, message.data))

    async def leave(self) -> None:
        """Leave the queue group: new requests go to other daemons, those received already are still delivered."""
        if self._serving is None:
            return
        try:
            await self._nats.drain(self._serving)
        except NatsError:
            log.debug("the subscription could not be drained")
        self._serving = None

    async def publish(self, subject: str, data: bytes) -> None:
        """Send; if NATS is away or the subject is bad, the message is dropped."""
        try:
            await self._nats.publish(subject, data)
        except NatsError:
            log.debug("a message to %s was dropped", subject[:200])

    async def aclose(self) -> None:
        """Send what is buffered and close."""
        await self._nats.close()

    # -- the hint stream

    async def ensure_stream(self) -> bool:
        """Create the stream if there is none; return whether it was created. Raises JetStreamDown."""
        api = self._nats.jetstream(seconds=_API_SECONDS)
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
            await self._nats.jetstream(seconds=_API_SECONDS).add_consumer(subjects.HINT_STREAM, config)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise JetStreamDown(str(error)) from error

    async def consumer_state(self, namespace: str, workflow: str, version: str) -> ConsumerState | None:
        """Return the state of the route's consumer, None if there is none. Raises JetStreamDown."""
        name = subjects.consumer(namespace, workflow, version)
        try:
            info = await self._nats.jetstream(seconds=_API_SECONDS).consumer_info(subjects.HINT_STREAM, name)
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
            await self._nats.jetstream(seconds=_API_SECONDS).delete_consumer(subjects.HINT_STREAM, name)
        except nats.js.errors.NotFoundError:
            return
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise JetStreamDown(str(error)) from error


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
            raise Unavailable(f"NATS cannot be reached at {shown(url)}: {hide(str(reason), url)}")
        await asyncio.sleep(0.1)
