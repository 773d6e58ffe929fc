"""Own the inbox of a worker's session on which daemons ask what stands in its memory, and the way of its answers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiki.nats import Connection, Message, NatsError, Subscription
from aiki.wire import subjects

log = logging.getLogger("aiki.transport")


class LookInbox:
    """The questions to one session. `on_look` gets each, and returns the answer, None for none."""

    def __init__(
        self, connection: Connection, namespace: str, session: str, on_look: Callable[[bytes], bytes | None]
    ) -> None:
        self._nats = connection
        self._looked = subjects.looked(namespace, "", "")[:-1]
        self._on_look = on_look
        self._subscription: Subscription = connection.subscribe(subjects.look(namespace, session), self._deliver)

    def close(self) -> None:
        """Hear no more."""
        self._nats.end(self._subscription)

    def _deliver(self, message: Message) -> None:
        """Answer. Nothing is said anywhere else than in our namespace's subjects for it."""
        if not message.reply.startswith(self._looked):
            return
        answer = self._on_look(message.data)
        if answer is None:
            return
        try:
            self._nats.send(message.reply, answer)
        except NatsError as error:
            log.debug("a look was not answered: %s", error)
