"""Own the daemon's connection to NATS: requests in, replies and pushes out, and the hint stream.

Nothing here is needed for correctness: whatever is lost on the way is asked for again or offered again. The
connection is kept for ever; while it is away, publishing drops.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiki.core.addresses import hide
from aiki.core.errors import AikiError, ConfigError, Denied, Unavailable
from aiki.core.keyfiles import KeyFiles
from aiki.nats import (
    Connection,
    KeysUnusable,
    Message,
    NatsError,
    Refused,
    Subscription,
    Untrusted,
)
from aiki.process.outages import Outage
from aiki.wire import subjects
from aiki.wire.limits import HINTS_PER_ROUTE
from aiki.wire.packing import check_server, room_of
from aikid.jetstream import BAD_REQUEST, NOT_FOUND, SECOND, ConsumerInfo, JetStream, JetStreamRefused, StreamInfo

log = logging.getLogger("aikid.bus")

OLDEST_SERVER: Final = (2, 10)
_ACK_SECONDS: Final = 5
_API_SECONDS: Final = 2.0
_INBOX: Final = re.compile(r"_INBOX\.[^ *>\t\r\n]{0,248}")
_REFUSED_HINT: Final = "set the credentials (AIKI_NATS_URL, AIKI_CREDS) or the server's permissions right"
_OVERLAP: Final = "subjects overlap"
"""What JetStream says if a stream of somebody else's takes in our subjects."""
_TRUST_HINT: Final = "export AIKI_TLS_CA=ca.pem   (who signed the server's certificate, which must name the URL's host)"
HINT_STREAM_BYTES: Final = 32 * 1024 * 1024
"""What hints may take on NATS's disk, those too that strangers publish."""
HINT_BYTES: Final = 64
"""What one hint may hold; ours are empty."""
HINT_SECONDS: Final = 3600
"""For how long a hint waits for a worker; runs that are still queued then are offered again."""
# Whoever may publish to the subjects can fill the stream, so what is new pushes out what is old: where a worker waits
# a hint is taken as soon as it is new; what was pushed out while nobody waited is offered again.
_LIMITS: Final[dict[str, Any]] = {
    "discard": "old",
    "max_msgs_per_subject": HINTS_PER_ROUTE,
    "max_bytes": HINT_STREAM_BYTES,
    "max_msg_size": HINT_BYTES,
    "max_age": HINT_SECONDS * SECOND,
}
_STREAM: Final[dict[str, Any]] = {
    "name": subjects.HINT_STREAM,
    "subjects": [subjects.HINT_SUBJECTS],
    "retention": "workqueue",
    "storage": "file",
    "duplicate_window": SECOND,
    "allow_direct": False,
    **_LIMITS,
}


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

    def __init__(self, url: str, keys: KeyFiles, *, on_return: Callable[[], None], quiet: bool = False) -> None:
        """A `quiet` one leaves it to others to say that NATS is away."""
        self._url = url
        outage = Outage(log, "NATS", level=logging.DEBUG if quiet else logging.WARNING)
        self._nats = Connection([url], keys=keys, name="aikid", echo=False, outage=outage)
        self._nobody = self._nats.new_inbox()
        """Where nobody listens, and a daemon must be able to reply."""
        self._nats.on_return.append(on_return)
        self._jetstream = JetStream(self._nats, seconds=_API_SECONDS)
        self._serving: Subscription | None = None
        self._refused_limits: dict[str, Any] = {}

    @property
    def connected(self) -> bool:
        """Whether NATS can be reached now."""
        return self._nats.connected

    @property
    def room(self) -> int:
        """The bytes of a message, as the server that we are connected to allows; another one may allow fewer."""
        return room_of(self._nats.max_payload)

    async def answers(self) -> bool:
        """Tell whether callers can reach this daemon: NATS answers within a second, and refuses nothing.

        A frozen server looks connected for up to 30 s. So it is asked, and whether we may reply to callers with it.
        """
        try:
            await self._nats.check_publish(self._nobody, seconds=1, vital=True)
        except NatsError:
            return False
        return not self._nats.refusals

    async def connect(self, *, seconds: float) -> None:
        """Connect. Raises Unavailable if nothing answers within `seconds`, Denied at once if we or it are refused.

        Raises ConfigError if a file of keys cannot be used, or the server takes too little to work with or is too old.
        """
        try:
            await self._nats.connect(seconds=seconds)
        except NatsError as error:
            raise self._told(error, "NATS refuses our credentials") from error
        check_server(self._nats.max_payload)
        _refuse_older(self._nats.server_version)

    async def check_rights(self) -> None:
        """Return if NATS permits what a daemon publishes; nobody takes anything in. Raises Denied, or Unavailable.

        A refusal to subscribe shows by itself (`denied`), and so does one to reply; others would only cost time.
        """
        try:
            for subject in (self._nobody, f"$JS.API.STREAM.INFO.{subjects.HINT_STREAM}", subjects.news("-", "-")):
                await self._nats.check_publish(subject)
            # Larger than the stream takes: it is no hint.
            await self._nats.check_publish(subjects.hint("-", "-", "-"), bytes(HINT_BYTES + 1))
        except NatsError as error:
            raise self._told(error, "NATS does not permit what a daemon needs") from error

    async def granted(self) -> None:
        """Return when the server refuses nothing that this daemon cannot do without."""
        await self._nats.refusals.over()

    async def denied(self, seconds: float) -> Denied:
        """Return the error to end with, once the server has refused for so long what this daemon cannot do without."""
        reason = await self._nats.refusals.lasting(seconds)
        return Denied(f"NATS has refused us for {seconds:g} s: {reason}", hint=_REFUSED_HINT)

    def _told(self, error: NatsError, refused: str) -> AikiError:
        reason = hide(str(error), self._url)
        match error:
            case KeysUnusable():
                return type(error.error)(reason, hint=error.error.hint)
            case Untrusted():
                return Denied(f"NATS cannot be trusted: {reason}", hint=_TRUST_HINT)
            case Refused():
                return Denied(f"{refused}: {reason}", hint=_REFUSED_HINT)
            case _:
                return Unavailable(f"NATS cannot be reached: {reason}")

    async def serve(self, on_request: Callable[[str, str, bytes], bytes | None]) -> None:
        """Receive requests as a member of the queue group of all daemons: subject, reply subject, data.

        What `on_request` returns is the reply; it may also reply later by `publish`.
        """

        def deliver(message: Message) -> None:
            reply = on_request(message.subject, message.reply, message.data)
            if reply is not None:
                self.push(message.reply, reply)

        self._serving = self._nats.subscribe(subjects.api("*", "*"), deliver, queue=subjects.QUEUE_GROUP)
        try:
            await self._nats.flush()
        except NatsError as error:
            log.debug("requests come as soon as NATS is back: %s", error)

    async def listen(self, on_news: Callable[[str, bytes], None]) -> None:
        """Receive the other daemons' news: subject and data."""
        self._nats.subscribe(subjects.news("*", "*"), lambda message: on_news(message.subject, message.data))

    def hear(self, subject: str, on_message: Callable[[Message], None]) -> None:
        """Receive what is pushed to a subject, or the server's word that nobody listened where it was the reply's."""
        self._nats.subscribe(subject, on_message)

    async def leave(self) -> None:
        """Leave the queue group: new requests go to other daemons, those received already are still delivered."""
        if self._serving is None:
            return
        try:
            await self._nats.drain(self._serving)
        except NatsError as error:
            log.debug("the subscription could not be drained: %s", error)
        self._serving = None

    async def publish(self, subject: str, data: bytes) -> None:
        """Send; if NATS is away or the subject is bad, the message is dropped."""
        try:
            await self._nats.publish(subject, data)
        except NatsError as error:
            log.debug("a message to %s was dropped: %s", subject[:200], error)

    def push(self, subject: str, data: bytes, *, reply: str = "") -> bool:
        """Send without waiting for room; return whether it was sent."""
        try:
            self._nats.send(subject, data, reply=reply)
        except NatsError as error:
            log.debug("a message to %s was dropped: %s", subject[:200], error)
            return False
        return True

    async def aclose(self) -> None:
        """Send what is buffered and close."""
        await self._nats.close()

    # -- the hint stream

    async def ensure_stream(self) -> bool:
        """Create the stream if there is none, and limit one that is not; return whether it was created.

        Raises JetStreamDown.
        """
        try:
            info = await self._jetstream.ask(f"STREAM.INFO.{subjects.HINT_STREAM}", answer=StreamInfo)
        except JetStreamRefused as error:
            if error.code != NOT_FOUND:
                raise
        else:
            await self._limit_stream(info.config)
            return False
        try:
            await self._jetstream.ask(f"STREAM.CREATE.{subjects.HINT_STREAM}", _STREAM)
        except JetStreamRefused as error:
            if error.code == BAD_REQUEST and _OVERLAP not in str(error):
                # Another daemon was first, with the same settings or, after an upgrade, slightly others.
                return False
            raise
        return True

    async def _limit_stream(self, config: dict[str, Any]) -> None:
        """Set the limits that the stream lacks: an aikid of before has made it. Those that a person chose are kept."""
        lacking = {name: limit for name, limit in _LIMITS.items() if not _is_limited(name, config.get(name))}
        if not lacking or lacking == self._refused_limits:
            return
        wanted = {**config, **lacking, "discard_new_per_subject": False}
        try:
            await self._jetstream.ask(f"STREAM.UPDATE.{subjects.HINT_STREAM}", wanted)
        except JetStreamRefused as error:
            self._refused_limits = lacking  # not asked for again each second
            log.warning("the hint stream cannot be limited, and may fill the disk: %s", error)
        else:
            log.info("the hint stream is limited now: %s", ", ".join(f"{name} {lacking[name]}" for name in lacking))

    async def ensure_consumer(self, namespace: str, workflow: str, version: str) -> None:
        """Create the route's durable pull consumer, or leave it as it is. Raises JetStreamDown."""
        name = subjects.consumer(namespace, workflow, version)
        config = {
            "durable_name": name,
            "filter_subject": subjects.hint(namespace, workflow, version),
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": _ACK_SECONDS * SECOND,
            "max_deliver": -1,
            "max_ack_pending": 20_000,
            "max_waiting": 4096,
        }
        await self._jetstream.ask(
            f"CONSUMER.DURABLE.CREATE.{subjects.HINT_STREAM}.{name}",
            {"stream_name": subjects.HINT_STREAM, "config": config},
        )

    async def consumer_state(self, namespace: str, workflow: str, version: str) -> ConsumerState | None:
        """Return the state of the route's consumer, None if there is none. Raises JetStreamDown."""
        name = subjects.consumer(namespace, workflow, version)
        try:
            info = await self._jetstream.ask(f"CONSUMER.INFO.{subjects.HINT_STREAM}.{name}", answer=ConsumerInfo)
        except JetStreamRefused as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return ConsumerState(info.num_pending, info.num_ack_pending, info.num_waiting, info.delivered.consumer_seq)

    async def delete_consumer(self, namespace: str, workflow: str, version: str) -> None:
        """Delete the route's consumer, if it is there: the next one starts afresh. Raises JetStreamDown."""
        name = subjects.consumer(namespace, workflow, version)
        try:
            await self._jetstream.ask(f"CONSUMER.DELETE.{subjects.HINT_STREAM}.{name}")
        except JetStreamRefused as error:
            if error.code != NOT_FOUND:
                raise


def _refuse_older(version: str) -> None:
    """Raise ConfigError if a server of this version lacks what we ask of JetStream."""
    found = re.match(r"([0-9]+)\.([0-9]+)", version)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST_SERVER:
        needed = ".".join(map(str, OLDEST_SERVER))
        raise ConfigError(f"nats-server is {version}, and aikid needs {needed} or later", hint="upgrade the server")


def _is_limited(name: str, value: Any) -> bool:
    return value == _LIMITS[name] if name == "discard" else isinstance(value, int) and value > 0


def may_reply(subject: str) -> bool:
    """Tell whether `subject` is an inbox: a caller must not make the daemon publish anywhere else."""
    return _INBOX.fullmatch(subject) is not None
