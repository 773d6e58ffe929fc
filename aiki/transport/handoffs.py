"""Own the inbox of runs that nobody asked for, and what a worker says to daemons about them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from aiki.nats import Connection, Message, NatsError, Subscription
from aiki.wire import codec, subjects
from aiki.wire.messages import Park

log = logging.getLogger("aiki.transport")

_COME: Final = b""


class HandoffInbox:
    """Where daemons push; `on_push` gets each message with the subject to say on that it has come, if there is one."""

    def __init__(self, connection: Connection, namespace: str, on_push: Callable[[bytes, str], None]) -> None:
        self.subject = connection.new_inbox()
        self._nats = connection
        self._namespace = namespace
        self._took = subjects.took(namespace, "", "")[:-1]
        self._on_push = on_push
        self._subscription: Subscription | None = None

    def open(self) -> None:
        """Begin to receive."""
        self._subscription = self._nats.subscribe(self.subject, self._deliver)

    async def close(self) -> None:
        """Receive no more; what is on its way still reaches `on_push` before this returns."""
        if self._subscription is not None:
            try:
                await self._nats.drain(self._subscription)
            except NatsError as error:
                log.debug("what was handed over is found later: %s", error)

    def park(self, park: Park) -> None:
        """Tell all daemons what may be handed over."""
        self._send(subjects.park(self._namespace), codec.encode(park))

    def took(self, reply: str) -> None:
        """Say that a push has come. Nothing is said anywhere else than in our namespace's subjects for it."""
        if reply.startswith(self._took):
            self._send(reply, _COME)

    def _deliver(self, message: Message) -> None:
        self._on_push(message.data, message.reply)

    def _send(self, subject: str, data: bytes) -> None:
        try:
            self._nats.send(subject, data)
        except NatsError as error:
            log.debug("a message to %s was dropped: %s", subject[:200], error)
