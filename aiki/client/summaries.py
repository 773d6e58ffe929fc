"""Own the following of the namespace: its summary as the daemon pushes it. Who is slow sees the newest alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from aiki.client.counts import Gathered, NamespaceSummary
from aiki.client.following import SILENT_SECONDS
from aiki.client.waits import CALL_SECONDS, RETRY_SECONDS
from aiki.client.wire import Wire
from aiki.core.errors import FINAL, AikiError
from aiki.wire import codec
from aiki.wire.limits import WATCH_SECONDS
from aiki.wire.messages import FollowNamespace, Summary, SummaryReply

_RENEW_SECONDS: Final = WATCH_SECONDS / 2

log = logging.getLogger("aiki.following")


class _Pushed:
    """What one follower has not seen yet."""

    def __init__(self) -> None:
        self._newest: SummaryReply | None = None
        self._some = asyncio.Event()

    def put(self, reply: SummaryReply) -> None:
        self._newest = reply
        self._some.set()

    def wake(self) -> None:
        self._some.set()

    async def take(self, seconds: float) -> SummaryReply | None:
        """Return the newest; None if nothing has come for so long, or somebody wakes it."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._some.wait()
        except TimeoutError:
            return None
        self._some.clear()
        newest, self._newest = self._newest, None
        return newest


class Summaries:
    """What is pushed of the client's namespace, by one subscription."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inbox = ""
        self._followers: list[_Pushed] = []

    async def follow(self) -> AsyncGenerator[NamespaceSummary, None]:
        """Yield the summary at once, then each that is pushed. Raises what the daemon refuses it with."""
        self._wire.check_loop()
        if not self._inbox:
            self._inbox = await self._wire.inbox(self._on_push)
            self._wire.on_return.append(self._on_return)
        pushed = _Pushed()
        self._followers.append(pushed)
        try:
            while True:
                yield await self._whole(await self._asked())
                renew_at = time.monotonic() + _RENEW_SECONDS
                while (left := renew_at - time.monotonic()) > 0:
                    if (reply := await pushed.take(min(SILENT_SECONDS, left))) is None:
                        break  # nothing was heard for longer than the daemon is silent
                    yield await self._whole(reply)
        finally:
            self._followers.remove(pushed)

    async def _asked(self) -> SummaryReply:
        """Register, and return the summary as soon as a daemon answers."""
        while True:
            try:
                return await self._wire.call(FollowNamespace(self._inbox, WATCH_SECONDS), seconds=CALL_SECONDS)
            except FINAL:
                raise
            except AikiError as error:
                self._wire.unserved(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _whole(self, reply: SummaryReply) -> NamespaceSummary:
        """Return all of a summary of which the first part was told."""
        gathered = Gathered()
        while (found := gathered.add(reply)) is None:
            reply = await self._wire.call(Summary(gathered.cursor))
        return found

    def _on_push(self, data: bytes) -> None:
        try:
            reply = codec.decode(data, SummaryReply)
        except msgspec.MsgspecError as error:
            # Whoever sees inboxes can write to them.
            log.debug("a push cannot be read: %s", error)
            return
        for follower in self._followers:
            follower.put(reply)

    def _on_return(self) -> None:
        for follower in self._followers:
            follower.wake()
