"""Own who follows which namespace at this daemon, and tell them: one read of its summary for all who follow it.

They are told at most twice a second, if something has changed, and each five seconds in any case.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NoReturn

from aiki.core.errors import AikiError, Unavailable
from aiki.core.failpoints import failpoint
from aiki.wire.codec import encode
from aiki.wire.messages import FollowNamespace, Summary, SummaryReply
from aikid.bus import Bus
from aikid.engine.changes import Changes
from aikid.engine.summary import Capped, summary
from aikid.store.pool import Pool
from aikid.tell.heard import Elsewhere
from aikid.tell.pace import Pace
from aikid.tell.watchers import SECONDS_MAX

log = logging.getLogger("aikid.namespaces")

GAP_SECONDS: Final = 0.5
REST_SECONDS: Final = 5.0
FOLLOWERS_MAX: Final = 10_000
NAMESPACE_MAX: Final = 1_000
"""Inboxes at one namespace."""


class Namespaces:
    """The registrations of this daemon."""

    def __init__(self, pool: Pool, bus: Bus, elsewhere: Elsewhere, capped: Capped) -> None:
        self._pool = pool
        self._bus = bus
        self._elsewhere = elsewhere
        self._capped = capped
        self._inboxes: dict[str, dict[str, float]] = {}
        """By namespace: until when each inbox is told (the loop's time)."""
        self._told: dict[str, tuple[bytes, float]] = {}
        """What was told last, and when."""
        self._pace: Pace[str] = Pace(gap_seconds=GAP_SECONDS, rest_seconds=REST_SECONDS)
        self._passing: Pace[str] = Pace(gap_seconds=GAP_SECONDS)
        """Of what other daemons are told."""

    def __len__(self) -> int:
        return sum(map(len, self._inboxes.values()))

    async def answer(self, namespace: str, request: FollowNamespace) -> SummaryReply:
        """Register who follows, if there is room, and return the summary. Raises Unavailable."""
        until = asyncio.get_running_loop().time() + min(max(request.seconds, 0.0), SECONDS_MAX)
        inboxes = self._inboxes.get(namespace, {})
        if request.inbox in inboxes or (len(inboxes) < NAMESPACE_MAX and len(self) < FOLLOWERS_MAX):
            if not inboxes:
                self._inboxes[namespace] = inboxes
                self._pace.stir(namespace, seconds=REST_SECONDS)
                self._elsewhere.say(namespace)
            inboxes[request.inbox] = until
        return await self._read(namespace)

    def changed(self, changes: Changes) -> None:
        """Take note of what a commit has changed in namespaces that are followed, here or elsewhere."""
        if not self._inboxes and not self._elsewhere:
            return
        found = {namespace for routes in (changes.queued, changes.claimed) for namespace, _, _ in routes}
        found.update(changes.ended, changes.changed, changes.settled)
        found.update(namespace for born in changes.born for namespace, _ in born.calls)
        for namespace in found:
            self.stir(namespace)
            if self._elsewhere.follows(namespace):
                self._passing.stir(namespace)

    def stir(self, namespace: str) -> None:
        """Take note that something has changed in a namespace."""
        if namespace in self._inboxes:
            self._pace.stir(namespace)

    async def run(self) -> NoReturn:
        """Tell of what happens, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_telling())
            group.create_task(self._keep_passing_on())
        raise AssertionError("both go on until they are cancelled")

    async def _keep_telling(self) -> NoReturn:
        while True:
            for namespace in await self._pace.due():
                try:
                    await self._tell(namespace)
                except Unavailable as error:
                    self._pool.outage.goes_on(error)  # it is told of again after the rest
                except AikiError as error:
                    log.warning("the summary of namespace %r cannot be told: %s", namespace, error)
                except Exception:
                    log.exception("a namespace was not told of: a bug")

    async def _keep_passing_on(self) -> NoReturn:
        while True:
            for namespace in await self._passing.due():
                self._elsewhere.stirred(namespace)

    async def _tell(self, namespace: str) -> None:
        now = asyncio.get_running_loop().time()
        inboxes = self._inboxes.get(namespace, {})
        for inbox in [inbox for inbox, until in inboxes.items() if until < now]:
            del inboxes[inbox]
        if not inboxes:
            self._inboxes.pop(namespace, None)
            self._told.pop(namespace, None)
            self._pace.forget(namespace)
            return
        self._elsewhere.say(namespace)
        data = encode(await self._read(namespace))
        before, told_at = self._told.get(namespace, (b"", 0.0))
        if data == before and now - told_at < REST_SECONDS - GAP_SECONDS:
            return
        self._told[namespace] = data, now
        for inbox in list(inboxes):
            if not failpoint("summary.before_push"):
                await self._bus.publish(inbox, data)

    async def _read(self, namespace: str) -> SummaryReply:
        return await summary(self._pool, namespace, Summary(), self._bus.room, capped=self._capped)
