"""Own the SDK's way to the daemon: typed calls, and pushes to an inbox.

It must never decide anything about runs. Here the connection's errors become those that callers know. A call that
times out is *unknown*, so it is repeated with the same request until the caller's deadline; only a claim is not (see
`repeat`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from asyncio import _get_running_loop
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec

from aiki.core.addresses import PERCENT_ENCODED, hide, shown
from aiki.core.errors import (
    AikiError,
    ConfigError,
    Denied,
    Overloaded,
    Unavailable,
    Unsupported,
    UsageError,
)
from aiki.core.keyfiles import KeyFiles
from aiki.core.variables import trimmed
from aiki.nats import Connection, KeysUnusable, NatsError, NoReply, NoResponders, OnlyStored, Refused, Untrusted
from aiki.process.outages import Outage
from aiki.transport.handoffs import HandoffInbox
from aiki.transport.hints import Hint, HintPulls
from aiki.transport.looks import LookInbox
from aiki.transport.silence import ATTEMPT_SECONDS, SHORT_ATTEMPT_SECONDS, Silence, Unanswered, Unserved
from aiki.wire import codec, subjects
from aiki.wire.messages import Request
from aiki.wire.packing import room_of, too_large

R = TypeVar("R")

DEFAULT_URL: Final = "nats://127.0.0.1:4222"
CALL_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 2.0

START_HINT: Final = "aiki dev"
CREDENTIALS_HINT: Final = "set the credentials (AIKI_URL, AIKI_CREDS) or the server's permissions right"
TRUST_HINT: Final = "export AIKI_TLS_CA=ca.pem   (who signed the server's certificate, which must name the URL's host)"

log = logging.getLogger("aiki.transport")


class Transport:
    """A connection for one namespace. Reconnects by itself for ever; a call says `Unavailable` at its deadline."""

    def __init__(self, connection: Connection, *, url: str, keys: KeyFiles, namespace: str) -> None:
        self.url = url
        self.keys = keys
        self.namespace = namespace
        self._nats = connection
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._outage = Outage(log, "aikid", away="does not serve us", back="serves us again")
        self._silence = Silence()

    def check_loop(self) -> None:
        """Raise UsageError if this is another loop than the one it was made on: no answer would ever come here."""
        if _get_running_loop() is not self._loop:  # in a fork there is none, or another
            raise _out_of_place(forked=os.getpid() != self._pid)

    @property
    def on_return(self) -> list[Callable[[], None]]:
        """What is called when the connection is back: what was pushed meanwhile is lost."""
        return self._nats.on_return

    @property
    def room(self) -> int:
        """The bytes of a message, as the server that we are connected to allows; another one may allow fewer."""
        return room_of(self._nats.max_payload)

    @classmethod
    async def connect(
        cls,
        url: str = DEFAULT_URL,
        *,
        keys: KeyFiles | None = None,
        namespace: str = "default",
        name: str = "aiki",
        seconds: float = CONNECT_SECONDS,
        quiet: bool = False,
        fail_fast: bool = False,
    ) -> Transport:
        """Connect to NATS. A `quiet` connection says nothing when NATS goes: another one of this process does.

        With `fail_fast` a server that is not there is not waited for.

        Raises ConfigError for a bad URL or a file of `keys` that cannot be used, Unavailable if nothing answers there
        within `seconds`, and Denied at once if the credentials are refused, or we do not trust the server.
        """
        if not subjects.is_token(namespace):
            raise ConfigError(f"namespace {namespace!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
        url, keys = trimmed(url), keys or KeyFiles()
        try:
            level = logging.DEBUG if quiet else logging.WARNING
            connection = Connection([url], keys=keys, name=name, outage=Outage(log, "NATS", level=level))
        except ValueError as error:
            raise ConfigError(
                f"{shown(url)!r} is not a NATS URL: expected {error}",
                hint=f"write it like {DEFAULT_URL}; in a password {PERCENT_ENCODED}",
            ) from error
        try:
            await connection.connect(seconds=seconds, fail_fast=fail_fast)
        except NatsError as error:
            raise _unreachable(url, error) from error
        return cls(connection, url=url, keys=keys, namespace=namespace)

    async def close(self) -> None:
        """Close the connection; what was published before is sent."""
        await self._nats.close()

    async def denied(self, seconds: float) -> Denied:
        """Return the error to end with, once NATS has refused for so long what nothing here can do without."""
        reason = await self._nats.refusals.lasting(seconds)
        return Denied(f"NATS at {shown(self.url)} has refused us for {seconds:g} s: {reason}", hint=CREDENTIALS_HINT)

    def unserved(self, error: AikiError) -> None:
        """Take note that somebody who repeats a call without end still waits; the log says so now and then."""
        # Else NATS itself is away, and its connection says so.
        if self._nats.connected:
            self._outage.goes_on(error)

    # -- calls

    async def call(self, request: Request[R], *, seconds: float = CALL_SECONDS, repeat: bool = True) -> R:
        """Return the daemon's reply. Raises the error it answers with, or Unavailable after `seconds`.

        Attempts of at most ATTEMPT_SECONDS are repeated until the deadline, also after `unavailable` and `overloaded`
        answers; in a hurry if somebody did not answer lately. With `repeat=False` there is one attempt of `seconds`.
        What does not fit a message is not sent: it raises PayloadError.
        """
        self.check_loop()
        try:
            data = codec.encode(request)
        except UnicodeEncodeError as error:
            raise UsageError(f"text with a lone surrogate, which UTF-8 cannot hold: {error.object[:80]!r}") from error
        deadline = time.monotonic() + seconds
        # A short deadline is also split: the first attempt may have met a daemon that died or froze.
        longest = min(ATTEMPT_SECONDS, max(seconds / 4, SHORT_ATTEMPT_SECONDS))
        pause = 0.02
        while True:
            left = max(deadline - time.monotonic(), 0.05)
            try:
                if repeat and self._silence.lasts:
                    return await self._silence.hurry(partial(self._attempt, request, data), left)
                return await self._attempt(request, data, min(longest, left) if repeat else seconds)
            except Unavailable as error:
                wait = error.retry_after if isinstance(error, Overloaded) else pause
                # Full jitter: daemons that come back must not meet all callers at once.
                wait *= 0.5 + random.random()  # noqa: S311
                if not repeat or time.monotonic() + wait >= deadline:
                    raise
                pause = min(pause * 2, 0.5)
                await asyncio.sleep(wait)

    async def _attempt(self, request: Request[R], data: bytes, seconds: float) -> R:
        # At each attempt: a reconnect may have led to a server that allows less.
        if len(data) > self.room:
            raise too_large(f"the request {request.op!r}", len(data), room=self.room)
        try:
            message = await self._nats.request(
                subjects.api(self.namespace, request.op), data, seconds=seconds, vital=True
            )
        except NoResponders as error:
            raise Unserved(
                f"no aikid serves namespace {self.namespace!r} at {shown(self.url)}",
                hint=f"start one: {START_HINT}   (or: aikid)",
            ) from error
        except OnlyStored as error:
            raise Unavailable(
                f"no aikid has replied to {request.op!r} from {shown(self.url)}: {error}",
                hint=f"start one: {START_HINT}   (or: aikid); that stream should not take in {subjects.PREFIX}.>",
            ) from error
        except NoReply as error:
            self._silence.met()
            raise Unanswered(
                f"no reply to {request.op!r} from {shown(self.url)} within {seconds:.1f} s"
                " (whether it happened is unknown)",
                hint="check aikid's log, and that it reaches Postgres",
            ) from error
        except NatsError as error:
            raise _unreachable(self.url, error) from error
        try:
            reply: R = codec.decode_reply(message.data, request.reply)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unsupported(
                f"aikid's reply to {request.op!r} cannot be read: {error}", hint="do aiki and aikid match in version?"
            ) from error
        self._outage.is_over()
        return reply

    # -- pushes

    async def inbox(self, on_message: Callable[[bytes], None]) -> str:
        """Return a private subject; whatever is pushed to it reaches `on_message` on this loop."""
        inbox = self._nats.new_inbox()
        self._nats.subscribe(inbox, lambda message: on_message(message.data))
        return inbox

    def told(self, session: str, on_told: Callable[[bytes], None]) -> Callable[[], None]:
        """Let `on_told` have what is pushed to a worker session; return what ends that."""
        subject = subjects.told(self.namespace, session)
        return partial(self._nats.end, self._nats.subscribe(subject, lambda message: on_told(message.data)))

    def looks(self, session: str, on_look: Callable[[bytes], bytes | None]) -> Callable[[], None]:
        """Let `on_look` answer what a worker session is asked; return what ends that."""
        return LookInbox(self._nats, self.namespace, session, on_look).close

    # -- hints

    async def hints(self, on_hint: Callable[[Hint], None], on_over: Callable[[str, bool], None]) -> HintPulls:
        """Open the inbox of a worker's pulls: `on_hint` gets each hint.

        `on_over` gets the consumer of a pull that has ended, and whether it simply expired.
        """
        pulls = HintPulls(self._nats, self.namespace, on_hint, on_over)
        await pulls.open()
        return pulls

    # -- hand-offs

    def handoffs(self, on_push: Callable[[bytes, str], None]) -> HandoffInbox:
        """Open the inbox of runs that nobody asked for: `on_push` gets each message and its reply subject."""
        inbox = HandoffInbox(self._nats, self.namespace, on_push)
        inbox.open()
        return inbox


def _out_of_place(*, forked: bool) -> UsageError:
    if forked:
        return UsageError(
            "this client was connected before this process was forked, and its connection is not shared by forks",
            hint="connect in the fork: async with Client.connect() as client: ...  (Client.blocking() does so itself)",
        )
    return UsageError(
        "this client was connected on another event loop; each asyncio.run() makes one of its own",
        hint="connect where it is used: async with Client.connect() as client: ...  (Client.blocking() needs no loop)",
    )


def _unreachable(url: str, error: NatsError) -> AikiError:
    reason = hide(str(error), url)
    if isinstance(error, KeysUnusable):
        return type(error.error)(reason, hint=error.error.hint)
    if isinstance(error, Untrusted):
        return Denied(f"NATS at {shown(url)} cannot be trusted: {reason}", hint=TRUST_HINT)
    if isinstance(error, Refused):
        return Denied(f"NATS at {shown(url)} refuses us: {reason}", hint=CREDENTIALS_HINT)
    return Unavailable(
        f"NATS at {shown(url)} cannot be reached ({reason})", hint=f"start one: {START_HINT}   (or: aikid --embedded)"
    )
