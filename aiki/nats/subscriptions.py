"""Own what was subscribed to, over all links, and the asking for it where the server does not permit it.

Permissions may be widened on the server at any time: so what was refused is asked for until it is granted.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiki.nats.errors import NatsError

if TYPE_CHECKING:
    from aiki.nats.frames import Message
    from aiki.nats.link import Link

ASK_AGAIN_SECONDS: Final = 0.5
"""How often subscriptions are asked for that were refused."""

log = logging.getLogger("aiki.nats")


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """What was subscribed to; hand it to `Connection.drain`."""

    sid: bytes
    subject: str
    queue: str
    on_message: Callable[[Message], None]

    @property
    def command(self) -> bytes:
        """What asks the server for it; it may be sent again."""
        return f"SUB {self.subject} {self.queue} ".encode() + self.sid + b"\r\n"


class Subscriptions:
    """The subscriptions of one connection. `on_granted` gets those that were refused and are no longer."""

    def __init__(self, on_granted: Callable[[set[Subscription]], None]) -> None:
        self.denied: set[Subscription] = set()
        """Those that the server refuses now."""
        self._on_granted = on_granted
        self._by_sid: dict[bytes, Subscription] = {}
        self._sids = itertools.count(1)
        self._link: Link | None = None
        """Where some were refused last."""
        self.asking: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_sid.values())

    def add(self, subject: str, on_message: Callable[[Message], None], *, queue: str) -> Subscription:
        """Return a new one; its `command` is to be sent over each link."""
        sid = b"%d" % next(self._sids)
        made = self._by_sid[sid] = Subscription(sid, subject, queue, on_message)
        return made

    def remove(self, subscription: Subscription) -> None:
        """Deliver nothing more of it."""
        self.denied.discard(subscription)
        self._by_sid.pop(subscription.sid, None)

    def deliver(self, message: Message) -> None:
        """Hand a message to whoever subscribed."""
        subscription = self._by_sid.get(message.sid)
        if subscription is None:
            return
        try:
            subscription.on_message(message)
        except Exception:
            log.exception("a message on %r was not dealt with: a bug", message.subject)

    def deny(self, subject: str, link: Link) -> set[Subscription]:
        """Take in that this is refused, and ask for it until it is granted, or the link lost. Return what it takes."""
        lost = {one for one in self if one.subject == subject}
        self.denied |= lost
        self._link = link
        if lost and (self.asking is None or self.asking.done()):
            self.asking = asyncio.create_task(self._ask_again())
        return lost

    async def _ask_again(self) -> None:
        while self.denied:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            asked, self.denied = self.denied, set()
            if not asked or self._link is None:
                return  # the link was lost; the next one will say what it refuses
            for subscription in asked:
                self._link.write(subscription.command)
            try:
                await self._link.ping()
            except NatsError:
                return
            # By now the server has said which of them it refuses still.
            if granted := asked - self.denied:
                self._on_granted(granted)
