"""Own the SDK's connection to NATS: typed calls, pushes to an inbox, and pulls of hints.

It must never decide anything about runs. It is the only module of `aiki` that knows nats-py, and the place
where its errors become ours. A call that times out is *unknown*, so it is repeated with the same request until the
caller's deadline; only a claim is not (see `repeat`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec
import nats
import nats.errors
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from aiki.core.errors import AikiError, ConfigError, Overloaded, PayloadError, Unavailable, UsageError
from aiki.wire import codec, subjects
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Request

R = TypeVar("R")

DEFAULT_URL: Final = "nats://127.0.0.1:4222"
DEFAULT_PORT: Final = 4222
ATTEMPT_SECONDS: Final = 2.0
SHORT_ATTEMPT_SECONDS: Final = 0.5
CALL_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 2.0
PULL_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 1.0

START_HINT: Final = "aiki dev"
STATUS_HEARTBEAT: Final = "100"
STATUS_EXPIRED: Final = "408"
log = logging.getLogger("aiki.transport")


class Transport:
    """A connection for one namespace. Reconnects by itself for ever; a call says `Unavailable` at its deadline."""

    def __init__(self, connection: Connection, *, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self._nats = connection

    @classmethod
    async def connect(
        cls, url: str = DEFAULT_URL, *, namespace: str = "default", name: str = "aiki", seconds: float = CONNECT_SECONDS
    ) -> Transport:
        """Connect to NATS. Raises Unavailable if nothing answers there within `seconds`, ConfigError for a bad URL."""
        if not subjects.is_token(namespace):
            raise ConfigError(f"namespace {namespace!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
        host, port = _address(url)
        deadline = time.monotonic() + seconds
        # nats-py sleeps for 2 s when its first connect fails, so knock first.
        await _knock(host, port, url, seconds)
        try:
            connection = await asyncio.wait_for(
                nats.connect(
                    url,
                    name=name,
                    connect_timeout=max(1, int(seconds)),
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    error_cb=_log_error,
                    disconnected_cb=_log_disconnect,
                    reconnected_cb=_log_reconnect,
                ),
                max(deadline - time.monotonic(), 0.5),
            )
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise _unreachable(url, error) from error
        return cls(connection, url=url, namespace=namespace)

    async def close(self) -> None:
        """Close the connection; what was published before is sent."""
        # No flush() before: nats-py's close() writes what is pending, and a flush that times out makes it log an error.
        try:
            await self._nats.close()
        except (nats.errors.Error, OSError) as error:
            log.debug("the connection was gone before it was closed: %s", error)

    # -- calls

    async def call(self, request: Request[R], *, seconds: float = CALL_SECONDS, repeat: bool = True) -> R:
        """Return the daemon's reply. Raises the error it answers with, or Unavailable after `seconds`.

        Attempts of at most ATTEMPT_SECONDS are repeated until the deadline, also after `unavailable` and `overloaded`
        answers. With `repeat=False` there is one attempt of `seconds`.
        """
        try:
            data = codec.encode(request)
        except UnicodeEncodeError as error:
            raise UsageError(f"text with a lone surrogate, which UTF-8 cannot hold: {error.object[:80]!r}") from error
        if len(data) > MESSAGE_BYTES:
            raise PayloadError(f"a request of {len(data):,} bytes is over the limit of {MESSAGE_BYTES:,}")
        deadline = time.monotonic() + seconds
        # A short deadline is also split: the first attempt may have met a daemon that died or froze.
        longest = min(ATTEMPT_SECONDS, max(seconds / 4, SHORT_ATTEMPT_SECONDS))
        pause = 0.02
        while True:
            left = deadline - time.monotonic()
            try:
                return await self._attempt(request, data, min(longest, max(left, 0.05)) if repeat else seconds)
            except Unavailable as error:
                wait = error.retry_after if isinstance(error, Overloaded) else pause
                # Full jitter: daemons that come back must not meet all callers at once.
                wait *= 0.5 + random.random()  # noqa: S311
                if not repeat or time.monotonic() + wait >= deadline:
                    raise
                pause = min(pause * 2, 0.5)
                await asyncio.sleep(wait)

    async def _attempt(self, request: Request[R], data: bytes, seconds: float) -> R:
        try:
            message = await self._nats.request(subjects.api(self.namespace, request.op), data, timeout=seconds)
        except nats.errors.NoRespondersError as error:
            raise Unavailable(
                f"no aikid serves namespace {self.namespace!r} at {self.url}",
                hint=f"start one: {START_HINT}   (or: aikid)",
            ) from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise Unavailable(
                f"no reply to {request.op!r} from {self.url} within {seconds:.1f} s (whether it happened is unknown)",
                hint="check aikid's log, and that it reaches Postgres",
            ) from error
        except (nats.errors.Error, OSError) as error:
            raise _unreachable(self.url, error) from error
        try:
            reply: R = codec.decode_reply(message.data, request.reply)
        except msgspec.MsgspecError as error:
            raise AikiError(
                f"aikid's reply to {request.op!r} cannot be read: {error}", hint="do aiki and aikid match in version?"
            ) from error
        return reply

    # -- pushes

    async def inbox(self, on_message: Callable[[bytes], None]) -> str:
        """Return a private subject; whatever is pushed to it reaches `on_message` on this loop."""
        inbox = self._nats.new_inbox()

        async def deliver(message: Msg) -> None:
            on_message(message.data)

        await self._nats.subscribe(inbox, cb=deliver, pending_msgs_limit=-1, pending_bytes_limit=-1)
        return inbox

    # -- hints

    async def hints(self, on_hint: Callable[[Hint], None], on_over: Callable[[str, bool], None]) -> HintPulls:
        """Open the inbox of a worker's pulls: `on_hint` gets each hint.

        `on_over` gets the consumer of a pull that has ended, and whether it simply expired.
        """
        pulls = HintPulls(self._nats, self.namespace, on_hint, on_over)
        await pulls.open()
        return pulls


class Hint:
    """A permit to claim one run of a route. Ack it when the claim is answered, else it comes again."""

    __slots__ = ("_message", "route")

    def __init__(self, route: str, message: Msg) -> None:
        self.route = route
        self._message = message

    async def ack(self) -> None:
        """Use the permit up."""
        await self._answer(b"+ACK")

    async def nak(self, delay_seconds: float) -> None:
        """Give the permit back, to be delivered again after the delay."""
        await self._answer(b'-NAK {"delay": %d}' % int(delay_seconds * 1e9))

    async def _answer(self, verb: bytes) -> None:
        try:
            await self._message._client.publish(self._message.reply, verb)  # noqa: SLF001 - Msg.ack() adds checks, not meaning
        except nats.errors.Error as error:
            log.debug("a hint was not answered and will come again: %s", error)


class HintPulls:
    """Pull requests to the routes' durable consumers: at most one outstanding per route."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        on_hint: Callable[[Hint], None],
        on_over: Callable[[str, bool], None],
    ) -> None:
        self._nats = connection
        self._namespace = namespace
        self._on_hint = on_hint
        self._on_over = on_over
        self._inbox = connection.new_inbox()
        self._routes: dict[str, str] = {}
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Subscribe to the inbox of replies."""
        self._subscription = await self._nats.subscribe(
            f"{self._inbox}.>", cb=self._deliver, pending_msgs_limit=-1, pending_bytes_limit=-1
        )

    async def close(self) -> None:
        """End all pulls; hints that are on their way still reach `on_hint` before this returns."""
        if self._subscription is None or not self._nats.is_connected:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._subscription.drain()  # type: ignore[no-untyped-call]
        except (nats.errors.Error, TimeoutError, OSError) as error:
            log.debug("hints on their way here come again later: %s", error)

    async def pull(self, workflow: str, version: str, batch: int) -> None:
        """Ask for up to `batch` hints of a route within PULL_SECONDS."""
        route = subjects.consumer(self._namespace, workflow, version)
        self._routes[subjects.hint(self._namespace, workflow, version)] = route
        request = b'{"batch":%d,"expires":%d}' % (batch, int(PULL_SECONDS * 1e9))
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.HINT_STREAM}.{route}"
        try:
            await self._nats.publish(subject, request, reply=f"{self._inbox}.{route}")
        except (nats.errors.Error, OSError) as error:
            log.debug("a pull was not sent: %s", error)

    async def _deliver(self, message: Msg) -> None:
        route = self._routes.get(message.subject)
        if route is not None:
            self._on_hint(Hint(route, message))
            return
        status = (message.headers or {}).get("Status", "")
        if status != STATUS_HEARTBEAT:
            # 404 no messages, 409 consumer deleted, 503 no JetStream: this pull is over as well.
            self._on_over(message.subject[len(self._inbox) + 1 :], status == STATUS_EXPIRED)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        port = 0
    if parts.scheme not in {"nats", "tls"} or not parts.hostname or not port:
        raise ConfigError(f"{url!r} is not a NATS URL", hint=f"write it like {DEFAULT_URL}")
    return parts.hostname, port


async def _knock(host: str, port: int, url: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), seconds)
        except (OSError, TimeoutError) as error:
            if time.monotonic() + 0.2 >= deadline:
                raise _unreachable(url, error) from error
            await asyncio.sleep(0.2)
        else:
            writer.close()
            return


def _unreachable(url: str, error: BaseException) -> Unavailable:
    reason = str(error) or type(error).__name__
    return Unavailable(
        f"NATS at {url} cannot be reached ({reason})", hint=f"start one: {START_HINT}   (or: aikid --embedded)"
    )


async def _log_error(error: Exception) -> None:
    log.debug("nats: %s", error)


async def _log_disconnect() -> None:
    log.debug("nats: disconnected")


async def _log_reconnect() -> None:
    log.debug("nats: connected again")
