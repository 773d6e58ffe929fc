"""Own the requests that are without a reply: by which subject each reply is known, and who waits for it."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from typing import TYPE_CHECKING, Final

from aiki.nats.errors import NatsError, NoReply

if TYPE_CHECKING:
    from aiki.nats.frames import Message

_STORED: Final = re.compile(rb'\{(?:"error":\{"code":\d[^}]*\},)?"stream":"([^"]*)"')
"""What JetStream answers whoever publishes what one of its streams takes in, also if that is full. Daemons begin with
`ok`, or with an error whose code is a word; the API of JetStream with `type`."""


def new_inbox() -> str:
    """Return a subject that nobody else knows."""
    return f"_INBOX.{secrets.token_hex(11)}"


class Requests:
    """The requests of one connection, each known by the last token of its reply subject."""

    def __init__(self) -> None:
        self.inbox = new_inbox()
        """Where replies come: on `<inbox>.<token>`."""
        self._tokens = itertools.count()
        self._waiting: dict[str, tuple[str, asyncio.Future[Message]]] = {}
        """By token: what it was sent to, and who waits."""
        self._stored: dict[str, str] = {}
        """By token: the stream that has taken the request in."""

    def begin(self, subject: str) -> tuple[str, asyncio.Future[Message]]:
        """Return the token of a request to the subject, and its reply or failure; it is to be ended."""
        token = f"{next(self._tokens):x}"
        replied: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[token] = subject, replied
        return token, replied

    def stored_by(self, token: str) -> str | None:
        """Return the stream that has said it stores the request, if one has."""
        return self._stored.get(token)

    def end(self, token: str) -> None:
        """Wait for it no longer."""
        del self._waiting[token]
        self._stored.pop(token, None)

    def on_reply(self, message: Message) -> None:
        """Hand a reply to who waits. A stream's word that it has stored the request is none: the owner may answer."""
        token = message.subject[len(self.inbox) + 1 :]
        _, replied = self._waiting.get(token, (None, None))
        if replied is None or replied.done():
            return
        if stored := _STORED.match(message.data):
            self._stored[token] = stored[1].decode(errors="replace")
        else:
            replied.set_result(message)

    def fail(self, kind: type[NatsError], reason: str, subject: str | None = None) -> None:
        """Fail those that were sent to the subject, or all."""
        for sent_to, replied in self._waiting.values():
            if not replied.done() and subject in {None, sent_to}:
                replied.set_exception(kind(reason))


def give_up(replied: asyncio.Future[Message]) -> None:
    """Fail a request whose time is over."""
    if not replied.done():
        replied.set_exception(NoReply("no reply in time"))
