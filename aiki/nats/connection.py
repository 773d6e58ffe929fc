"""Own one connection to a cluster of nats-servers that is kept for ever.

However a link ends, a new one is opened, with growing pauses between rounds over all servers, and everything that was
subscribed to is subscribed to again. So it is with credentials that are refused, since a person may set them right on
the server; and subscriptions that narrowed permissions took are asked for until they are granted. What is refused is
told by `refusals`, for whoever has to end the process when it lasts.

Callbacks are plain functions and run in the loop's own reading of the socket. What one raises is a bug of ours: it is
logged, and harms no other message.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from aiki.core.keyfiles import KeyFiles
from aiki.nats.cluster import PAUSE_SECONDS, Cluster
from aiki.nats.errors import (
    Away,
    KeysUnusable,
    NatsError,
    NoReply,
    NoResponders,
    OnlyStored,
    Refused,
    TooLarge,
    Untrusted,
)
from aiki.nats.refusals import Refusals
from aiki.nats.requests import Requests, give_up, new_inbox
from aiki.nats.subscriptions import Subscription, Subscriptions
from aiki.process.outages import Outage

if TYPE_CHECKING:
    from aiki.nats.frames import Info, Message
    from aiki.nats.link import Link

PAUSE_SECONDS_MAX: Final = 1.0
"""Between two rounds over all servers; it doubles, and is jittered, so that not all come back at the same moment."""
STEADY_SECONDS: Final = 5.0
"""A link that ends sooner than this does not reset the pause."""
FLUSH_SECONDS: Final = 2.0
CANCEL_SECONDS: Final = 0.1
_NOBODY: Final = "503"
_CREDENTIALS: Final = "credentials"
_DENIED: Final = re.compile(r'permissions violation for (subscription|publish) to "([^"]*)"', re.IGNORECASE)
_BLANK: Final = re.compile(r"[\s\0]")

log = logging.getLogger("aiki.nats")


class Connection:
    """A connection to the servers of one cluster. With `echo=False` it does not hear itself.

    Each of `urls` may name several servers. Raises ValueError for addresses that are none.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        keys: KeyFiles | None = None,
        echo: bool = True,
        outage: Outage | None = None,
    ) -> None:
        self.on_return: list[Callable[[], None]] = []
        """Called when the connection or a subscription is back: what was pushed meanwhile is lost."""
        self.refusals = Refusals()
        self._cluster = Cluster(urls, name=name, keys=keys or KeyFiles(), echo=echo)
        self._outage = outage or Outage(log, "NATS", level=logging.DEBUG)
        self._link: Link | None = None
        self._why: NatsError = Away("it was not connected yet")
        """Why there is no link, if there is none."""
        self._keeper: asyncio.Task[None] | None = None
        self._subscriptions = Subscriptions(self._on_granted)
        self._requests = Requests()
        self._replies = self.subscribe(f"{self._requests.inbox}.*", self._requests.on_reply)

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._link is not None

    @property
    def max_payload(self) -> int:
        """The largest message in bytes, with its headers, that the server takes; it says so when we connect."""
        return self._info.max_payload

    @property
    def server_version(self) -> str:
        """The version that the server says it has, such as "2.10.4"; empty if it says none."""
        return self._info.version

    async def connect(self, *, seconds: float, fail_fast: bool = False) -> None:
        """Connect, and stay so.

        Raises Away if no server answers within `seconds`, and Refused as soon as one refuses us and no other takes us.
        With `fail_fast` each server is tried once: one that is not there is not waited for.
        """
        opening = self._cluster.open(seconds=seconds) if fail_fast else self._cluster.open_within(seconds)
        self._begin(await opening)
        self._keeper = asyncio.create_task(self._keep(), name="aiki-nats")

    async def close(self) -> None:
        """Send what was published, and close."""
        for task in (self._keeper, self._subscriptions.asking):
            if task is not None:
                await _cancel(task)
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()
            self._requests.fail(Away, "the connection was closed")

    # -- sending

    def send(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Send without waiting for room. Raises NatsError if it cannot be sent; whether it arrives is not told."""
        if self._link is None:
            raise type(self._why)(*self._why.args)
        if len(data) > (most := self._link.info.max_payload):
            raise TooLarge(f"a message of {len(data):,} bytes is more than the {most:,} that NATS takes")
        if not subject or _BLANK.search(subject) or _BLANK.search(reply):
            raise NatsError(f"{subject!r} or {reply!r} is no subject")
        try:
            head = f"PUB {subject} {reply} {len(data)}\r\n".encode()
        except UnicodeEncodeError as error:
            raise NatsError(f"{subject!r} or {reply!r} is no subject") from error
        self._link.write(head + data + b"\r\n")

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Send, and wait for room if much is on its way already. Raises as `send` does."""
        self.send(subject, data, reply=reply)
        if self._link is not None and self._link.is_full:
            await self._link.room()

    async def request(self, subject: str, data: bytes = b"", *, seconds: float, vital: bool = False) -> Message:
        """Return the reply. With `vital` a refusal to publish there is one of `refusals`.

        A stream's word that it has stored the request is no reply: streams may take in more than their owners know.
        Raises NoResponders, NoReply after `seconds` (OnlyStored, if there was such a word), Refused if we may not
        publish there or get no replies, TooLarge, or Away, also when the connection is lost meanwhile.
        """
        requests = self._requests
        if self._replies in self._subscriptions.denied:
            raise Refused("replies cannot be received: their subject is not permitted")
        token, replied = requests.begin(subject)
        overdue = asyncio.get_running_loop().call_later(seconds, give_up, replied)
        try:
            await self.publish(subject, data, reply=f"{requests.inbox}.{token}")
            message = await replied
        except Refused as error:
            if vital and self._link is not None:  # else it is our credentials that are refused
                self.refusals.begin(subject, str(error))
            raise
        except NoReply as error:
            self.refusals.end(subject)
            if stored := requests.stored_by(token):
                raise OnlyStored(f"the stream {stored} stores what is sent to {subject}") from error
            raise
        finally:
            overdue.cancel()
            requests.end(token)
        if self.refusals:
            self.refusals.end(subject)
        if message.status == _NOBODY:
            raise NoResponders(f"nobody listens on {subject}")
        return message

    async def check_publish(
        self, subject: str, data: bytes = b"", *, seconds: float = FLUSH_SECONDS, vital: bool = False
    ) -> None:
        """Publish, and return when the server has dealt with it. With `vital` a refusal is one of `refusals`.

        Raises Refused if that may not be published, NoReply if the server does not answer within `seconds`, or Away.
        """
        token, denied = self._requests.begin(subject)
        try:
            await self.publish(subject, data)
            await self.flush(seconds=seconds)
        finally:
            self._requests.end(token)
            error = denied.exception() if denied.done() else None
        if vital and error is not None:
            self.refusals.begin(subject, str(error))
        elif vital:
            self.refusals.end(subject)
        if error is not None:
            raise error

    async def flush(self, *, seconds: float = FLUSH_SECONDS) -> None:
        """Return when the server has dealt with all that was sent before, subscriptions too. Raises NatsError."""
        if self._link is None:
            raise type(self._why)(*self._why.args)
        try:
            async with asyncio.timeout(seconds):
                await self._link.ping()
        except TimeoutError as error:
            raise NoReply("the server does not answer a ping") from error

    # -- receiving

    def new_inbox(self) -> str:
        """Return a subject that nobody else knows."""
        return new_inbox()

    def subscribe(self, subject: str, on_message: Callable[[Message], None], *, queue: str = "") -> Subscription:
        """Call `on_message` with each message on the subject, or with this member's share of the queue group's.

        It holds until it is drained: over reconnects, and while permissions forbid it.
        """
        made = self._subscriptions.add(subject, on_message, queue=queue)
        if self._link is not None:
            self._link.write(made.command)
        return made

    async def drain(self, subscription: Subscription) -> None:
        """End a subscription; messages that are on their way are delivered before this returns. Raises NatsError."""
        self._subscriptions.denied.discard(subscription)  # first: else it may be asked for behind this
        try:
            if self._link is not None:
                self._link.write(b"UNSUB " + subscription.sid + b"\r\n")
            await self.flush()
        finally:
            self._subscriptions.remove(subscription)

    def end(self, subscription: Subscription) -> None:
        """End a subscription at once: nothing is delivered any more."""
        self._subscriptions.remove(subscription)
        if self._link is not None:
            self._link.write(b"UNSUB " + subscription.sid + b"\r\n")

    # -- the link

    @property
    def _info(self) -> Info:
        """What the server says of itself now, or has said last."""
        return self._link.info if self._link is not None else self._cluster.info

    async def _keep(self) -> None:
        """Whenever the link is lost, open another one."""
        loop = asyncio.get_running_loop()
        pause = PAUSE_SECONDS
        while True:
            assert self._link is not None
            began = loop.time()
            reason = await asyncio.shield(self._link.lost)
            self._end(reason)
            if loop.time() - began > STEADY_SECONDS:
                pause = PAUSE_SECONDS
            while self._link is None:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(pause * 2, PAUSE_SECONDS_MAX)
                await self._try_again()

    async def _try_again(self) -> None:
        try:
            link = await self._cluster.open()
        except (Refused, Away) as error:
            self._miss(error)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # Nobody has ended this task: it is one of nats-py's own that was cancelled.
            self._miss(Away("entering was broken off"))
        except Exception:
            log.exception("connecting to NATS failed: a bug")
        else:
            self._begin(link)
            self._returned()

    def _begin(self, link: Link) -> None:
        self._link = link
        self._outage.is_over()
        self.refusals.end(_CREDENTIALS)
        link.serve(self._subscriptions.deliver, self._on_denial)
        for subscription in self._subscriptions:
            link.write(subscription.command)

    def _end(self, reason: NatsError) -> None:
        self._cluster.info = self._info
        self._link = None
        self._subscriptions.denied.clear()
        self.refusals.clear()
        self._requests.fail(type(reason), str(reason))
        self._miss(reason)

    def _miss(self, reason: NatsError) -> None:
        self._why = reason
        if isinstance(reason, Refused):
            self.refusals.begin(_CREDENTIALS, str(reason))
            ours = isinstance(reason, Untrusted | KeysUnusable)
            self._outage.goes_on(f"we cannot enter: {reason}" if ours else f"it refuses us: {reason}")
        else:
            # Nobody is there who could refuse.
            self.refusals.clear()
            self._outage.goes_on(reason)

    def _returned(self) -> None:
        for tell in self.on_return:
            try:
                tell()
            except Exception:
                log.exception("the return of NATS was not dealt with: a bug")

    # -- permissions

    def _on_denial(self, reason: str) -> None:
        """Take note of a violation: `Permissions Violation for Subscription to "a.>" using queue "q"`, for one."""
        found = _DENIED.match(reason)
        if found is None:
            return
        what, subject = found.groups()
        if what.lower() == "publish":
            self._requests.fail(Refused, reason, subject)
            return
        if self._link is None:
            return  # it is being closed
        lost = self._subscriptions.deny(subject, self._link)
        if not lost:
            return
        self.refusals.begin(f"subscription {subject}", reason)
        self._outage.goes_on(f"it refuses us: {reason}")
        if self._replies in lost:
            self._requests.fail(Refused, reason)

    def _on_granted(self, granted: set[Subscription]) -> None:
        for subscription in granted:
            self.refusals.end(f"subscription {subscription.subject}")
        if not self._subscriptions.denied:
            self._outage.is_over()
        self._returned()


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel the task until it ends: nats-py's wait_for() swallows a cancellation on Python 3.11 (bpo-37658)."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)
