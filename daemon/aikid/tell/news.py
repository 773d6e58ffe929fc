"""Tell watchers and the other daemons what has changed, best effort, after the commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from aiki.core.errors import Unavailable
from aiki.core.states import SETTLED
from aiki.wire import subjects, weights
from aiki.wire.codec import decode, encode
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import RunNews, RunStatus
from aiki.wire.packing import pages, reply_room
from aikid.bus import Bus
from aikid.engine import status
from aikid.engine.changes import Ended, RunKey
from aikid.store.pool import Pool
from aikid.tell.followers import Followers
from aikid.tell.heard import Elsewhere, Heard
from aikid.tell.namespaces import Namespaces
from aikid.tell.watchers import Watchers

log = logging.getLogger("aikid.news")

_FORGET_SECONDS: Final = 15.0
_HEARD_MAX: Final = 100_000


class News:
    """Pushes `RunNews` to inboxes of watchers at this daemon, and passes the word to the others."""

    def __init__(
        self, pool: Pool, bus: Bus, watchers: Watchers, followers: Followers, namespaces: Namespaces, others: Elsewhere
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._watchers = watchers
        self._followers = followers
        self._namespaces = namespaces
        self._others = others
        self._heard: set[RunKey] = set()
        self._hearing = asyncio.Event()

    async def ended(self, namespace: str, ended: Sequence[Ended]) -> None:
        """Tell of claims that ended by one commit; most need no read."""
        self._followers.changed(namespace, (one.unit.fence.run_id for one in ended))
        told: list[RunStatus] = []
        unknown: list[str] = []
        loud: list[str] = []
        quiet: list[str] = []
        for one in ended:
            run_id = one.unit.fence.run_id
            is_end = one.state in SETTLED
            (loud if is_end else quiet).append(run_id)
            if (known := self._watchers.after_end(namespace, one)) is not None:
                told.append(known)
            elif self._watchers.wants(namespace, run_id, end=is_end):
                unknown.append(run_id)
        await self._push(namespace, told)
        await self._read_and_push([(namespace, run_id) for run_id in unknown])
        await self._pass_on(namespace, loud, end=True)
        await self._pass_on(namespace, quiet, end=False)

    async def changed(self, namespace: str, ids: Sequence[str], *, end: bool = False) -> None:
        """Tell of runs that changed otherwise: claimed, queued, rescued, resumed."""
        self._followers.changed(namespace, ids)
        await self._read_and_push([(namespace, i) for i in ids if self._watchers.wants(namespace, i, end=end)])
        await self._pass_on(namespace, ids, end=end)

    def recorded(self, namespace: str, ids: Sequence[str]) -> None:
        """Tell those who follow them in full of runs that have recorded something, and go on as before."""
        self._followers.recorded(namespace, ids)
        self._others.recorded(namespace, ids)

    def on_news(self, subject: str, data: bytes) -> None:
        """Take note of what another daemon changed, or of whom is followed there."""
        try:
            heard = decode(data, Heard)
        except msgspec.MsgspecError:
            return
        namespace = subject.split(".")[2]
        match heard.word:
            case "followed":
                self._others.heard(namespace, heard.ids)
            case "recorded":
                self._followers.recorded(namespace, heard.ids)
            case _:
                self._followers.changed(namespace, heard.ids)
                self._namespaces.stir(namespace)
                self._on_changed(namespace, heard)

    def _on_changed(self, namespace: str, heard: Heard) -> None:
        """Take note of what another daemon changed; `run` reads what is watched here."""
        wanted = [(namespace, i) for i in heard.ids if self._watchers.wants(namespace, i, end=heard.end)]
        if wanted and len(self._heard) < _HEARD_MAX:
            self._heard.update(wanted)
            self._hearing.set()

    async def run(self) -> None:
        """Read and push what other daemons changed, and forget watchers whose time is over, until cancelled."""
        forget_at = self._time() + _FORGET_SECONDS
        while True:
            # Not wait_for(): see Alarm.wait.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(forget_at):
                    await self._hearing.wait()
            if self._time() >= forget_at:
                for _ in self._watchers.forget_expired():
                    await asyncio.sleep(0)
                self._others.forget_expired()
                forget_at = self._time() + _FORGET_SECONDS
            self._hearing.clear()
            heard, self._heard = self._heard, set()
            try:
                await self._read_and_push(list(heard))
            except Exception:
                log.exception("news of %d runs was lost: a bug", len(heard))

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    async def _read_and_push(self, runs: Sequence[RunKey]) -> None:
        for start in range(0, len(runs), BATCH_RUNS):
            try:
                found = await status.statuses(self._pool, runs[start : start + BATCH_RUNS])
            except Unavailable as error:
                # Their watchers will ask.
                self._pool.outage.goes_on(error)
                return
            by_namespace: dict[str, list[RunStatus]] = defaultdict(list)
            for (namespace, _), one in found.items():
                by_namespace[namespace].append(one)
            for namespace, statuses in by_namespace.items():
                await self._push(namespace, statuses)

    async def _push(self, namespace: str, statuses: Sequence[RunStatus]) -> None:
        if not statuses:
            return
        for inbox, told in self._watchers.told(namespace, statuses).items():
            for news in _pages(told, room=self._bus.room):
                await self._bus.publish(inbox, encode(news))

    async def _pass_on(self, namespace: str, ids: Sequence[str], *, end: bool) -> None:
        for start in range(0, len(ids), BATCH_RUNS):
            some = list(ids[start : start + BATCH_RUNS])
            await self._bus.publish(subjects.news(namespace, some[0]), encode(Heard(some, end)))


def _pages(told: list[RunStatus], *, room: int) -> Iterator[RunNews]:
    """Yield pushes that fit `room`; runs too large to push are only named."""
    if sum(map(weights.of_status, told)) <= reply_room(room):
        yield RunNews(told)
        return
    small = [run for run in told if weights.of_status(run) <= reply_room(room)]
    named = {run.id for run in told}.difference(run.id for run in small)
    for runs in pages(small, weights.of_status, room):
        yield RunNews(list(runs))
    for ids in pages(list(named), weights.of_id, room):
        yield RunNews([], list(ids))
