"""Own the pulls of hints, and their acks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from aiki.nats import Connection, Message, NatsError, Subscription
from aiki.wire import subjects

PULL_SECONDS: Final = 2.0
_HEARTBEAT: Final = "100"
_EXPIRED: Final = "408"

log = logging.getLogger("aiki.transport")


class Hint:
    """A permit to claim one run of a route. Ack it when the claim is answered, else it comes again."""

    __slots__ = ("_nats", "_reply", "route")

    def __init__(self, connection: Connection, route: str, reply: str) -> None:
        self.route = route
        self._nats = connection
        self._reply = reply

    async def ack(self) -> None:
        """Use the permit up."""
        await self._answer(b"+ACK")

    async def nak(self, delay_seconds: float) -> None:
        """Give the permit back, to be delivered again after the delay."""
        await self._answer(b'-NAK {"delay": %d}' % int(delay_seconds * 1e9))

    async def _answer(self, verb: bytes) -> None:
        try:
            await self._nats.publish(self._reply, verb)
        except NatsError as error:
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
        """By the subject of their hints: the consumers that were pulled from."""
        self._inboxes: dict[str, str] = {}
        """By the subject that a pull's end is told on."""
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Subscribe to the inbox of replies."""
        self._subscription = self._nats.subscribe(f"{self._inbox}.>", self._deliver)
        self._nats.on_return.append(self._end_all)

    async def close(self) -> None:
        """End all pulls; hints that are on their way still reach `on_hint` before this returns."""
        if self._subscription is None:
            return
        self._nats.on_return.remove(self._end_all)
        try:
            await self._nats.drain(self._subscription)
        except NatsError as error:
            log.debug("hints on their way here come again later: %s", error)

    async def pull(self, workflow: str, version: str, batch: int) -> None:
        """Ask for up to `batch` hints of a route within PULL_SECONDS."""
        route = subjects.consumer(self._namespace, workflow, version)
        self._routes[subjects.hint(self._namespace, workflow, version)] = route
        self._inboxes[inbox := f"{self._inbox}.{route}"] = route
        request = b'{"batch":%d,"expires":%d}' % (batch, int(PULL_SECONDS * 1e9))
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.HINT_STREAM}.{route}"
        try:
            await self._nats.publish(subject, request, reply=inbox)
        except NatsError as error:
            log.debug("a pull was not sent: %s", error)

    def _end_all(self) -> None:
        """Take note that the server has forgotten all pulls: they ended with the connection or the subscription."""
        for route in self._routes.values():
            self._on_over(route, True)

    def _deliver(self, message: Message) -> None:
        route = self._routes.get(message.subject)
        if route is not None:
            self._on_hint(Hint(self._nats, route, message.reply))
            return
        # Whoever sees inboxes can write there: of what was never pulled nothing is to be remembered.
        route = self._inboxes.get(message.subject)
        if route is not None and message.status != _HEARTBEAT:
            # 404 no messages, 409 consumer deleted, 503 no JetStream: this pull is over as well.
            self._on_over(route, message.status == _EXPIRED)
