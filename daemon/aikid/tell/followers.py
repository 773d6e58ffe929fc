"""Own who follows which run in full at this daemon, and tell them: one read and one encoding for all who follow a run.

A run is told of at most four times a second, what comes meanwhile with the next, and each five seconds in any case: so
who has lost a push finds that out by the number from which the next one goes on, and asks for the rest. A registration
is memory, as a watcher's is: it is bounded, asked for again, and who is beyond the bound is answered when it asks.

When a try begins stands nowhere: so for a while after a change the worker that holds the run is asked, which costs no
read, and only if it tells something else than before the run is read once more.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from msgspec.structs import replace

from aiki.core.errors import Unavailable
from aiki.core.failpoints import failpoint
from aiki.core.states import TERMINAL
from aiki.wire.codec import encode
from aiki.wire.limits import LOOKED_MOST
from aiki.wire.messages import FeedNews, Follow, FollowReply, Looked, RunFeed, Seen
from aikid.bus import Bus
from aikid.engine import following
from aikid.engine.changes import RunKey
from aikid.engine.following import UNKNOWN, Reading
from aikid.store.following import Counted
from aikid.store.pool import Pool
from aikid.tell.heard import Elsewhere
from aikid.tell.looks import Looks
from aikid.tell.pace import Pace
from aikid.tell.watchers import SECONDS_MAX

log = logging.getLogger("aikid.followers")

GAP_SECONDS: Final = 0.25
REST_SECONDS: Final = 5.0
FOLLOWERS_MAX: Final = 20_000
"""Registrations, each an inbox at a run: some 500 bytes. A namespace may have half."""
RUN_MAX: Final = 1_000
"""Inboxes at one run."""
_READERS: Final = 4
"""Runs that are read at a time."""
_LOOKS: Final = (0.25, 0.5, 1.0, 2.0)
"""How long after a change, and each time after the look before, a worker is asked what has begun."""
_LATE_SECONDS: Final = 0.05
"""How long after its time a try has begun."""


@dataclass(slots=True)
class _Followed:
    inboxes: dict[str, float] = field(default_factory=dict)
    """Until when each is told (the loop's time)."""
    seen: Seen | None = None
    """What has been told."""
    counted: Counted = UNKNOWN
    digest: bytes = b""
    """Of what was told last."""
    told_at: float = 0.0
    session: str | None = None
    looked: object = None
    looks: int = 0
    """How often its worker was asked since the last change."""
    children: frozenset[RunKey] = frozenset()
    """Those of its children that have not ended, as far as they are told."""


class Followers:
    """The registrations of this daemon."""

    def __init__(self, pool: Pool, bus: Bus, looks: Looks, elsewhere: Elsewhere, *, limit: int = FOLLOWERS_MAX) -> None:
        self._pool = pool
        self._bus = bus
        self._looks = looks
        self._elsewhere = elsewhere
        self._limit = limit
        self._runs: dict[RunKey, _Followed] = {}
        self._parents: defaultdict[RunKey, set[RunKey]] = defaultdict(set)
        self._counts: Counter[str] = Counter()
        """Registrations by namespace."""
        self._total = 0
        self._pace: Pace[RunKey] = Pace(gap_seconds=GAP_SECONDS, rest_seconds=REST_SECONDS)
        self._glances: Pace[RunKey] = Pace(gap_seconds=GAP_SECONDS)

    def __len__(self) -> int:
        return self._total

    def __contains__(self, run: object) -> bool:
        return run in self._runs

    # -- who follows

    async def answer(self, calls: Sequence[tuple[str, Follow]]) -> list[FollowReply]:
        """Register who follows, as far as there is room, and return all that each has not seen. Raises Unavailable."""
        seen: defaultdict[RunKey, list[Seen]] = defaultdict(list)
        asking: defaultdict[RunKey, set[str]] = defaultdict(set)
        for namespace, request in calls:
            self.register(namespace, request)  # before the read, or a change between them is lost
            for one in request.runs:
                seen[namespace, one.id].append(one)
                asking[namespace, one.id].add(request.inbox)
        found: dict[RunKey, Reading] = {}
        runs = list(seen)
        for start in range(0, len(runs), _READERS):
            some = runs[start : start + _READERS]
            readings = await asyncio.gather(*(self._read(run, following.earliest(seen[run])) for run in some))
            found.update((run, one) for run, one in zip(some, readings, strict=True) if one is not None)
        for run in runs:
            self._saw(run, found.get(run), asking[run])
        return [
            following.reply(
                request,
                {one.id: found[namespace, one.id] for one in request.runs if (namespace, one.id) in found},
                room=self._bus.room,
            )
            for namespace, request in calls
        ]

    def register(self, namespace: str, request: Follow) -> None:
        """Have the inbox be told of the request's runs, as far as there is room."""
        until = asyncio.get_running_loop().time() + min(max(request.seconds, 0.0), SECONDS_MAX)
        for seen in request.runs:
            key = namespace, seen.id
            followed = self._runs.get(key)
            if followed is None or request.inbox not in followed.inboxes:
                if not self._has_room(namespace) or (followed is not None and len(followed.inboxes) >= RUN_MAX):
                    continue
                if followed is None:
                    followed = self._runs[key] = _Followed()
                    self._pace.stir(key, seconds=REST_SECONDS)
                    self._elsewhere.say(*key)
                self._count(namespace, 1)
            followed.inboxes[request.inbox] = until

    def _saw(self, run: RunKey, reading: Reading | None, asking: set[str]) -> None:
        """Take what a read found that nobody is told of but who asked: an ended run is followed no longer.

        Whoever follows it besides has not been told of its end yet, and is first.
        """
        if (followed := self._runs.get(run)) is None:
            return
        if reading is None or reading.feed.run.state in TERMINAL:
            if followed.inboxes.keys() <= asking:
                self._forget(run)
            else:
                self._pace.stir(run)
        elif followed.seen is None:
            followed.seen = _seen(reading)
            self._note(run, followed, reading)

    # -- what happens

    def changed(self, namespace: str, ids: Iterable[str]) -> None:
        """Take note that runs stand otherwise than before."""
        if not self._runs:
            return
        for run_id in ids:
            key = namespace, run_id
            if key in self._runs:
                self._stir(key)
            for parent in self._parents.get(key, ()):
                self._stir(parent)

    def recorded(self, namespace: str, ids: Iterable[str]) -> None:
        """Take note that runs have recorded something, and go on."""
        if not self._runs:
            return
        for run_id in ids:
            if (namespace, run_id) in self._runs:
                self._stir((namespace, run_id))

    def _stir(self, run: RunKey) -> None:
        self._runs[run].looks = 0
        self._pace.stir(run)

    # -- telling

    async def run(self) -> NoReturn:
        """Tell of what happens, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_telling())
            group.create_task(self._keep_looking())
        raise AssertionError("both go on until they are cancelled")

    async def _keep_telling(self) -> NoReturn:
        while True:
            due = await self._pace.due()
            for start in range(0, len(due), _READERS):
                await asyncio.gather(*map(self._tell_safely, due[start : start + _READERS]))

    async def _tell_safely(self, run: RunKey) -> None:
        try:
            await self._tell(run)
        except Unavailable as error:
            self._pool.outage.goes_on(error)  # it is told of again after the rest
        except Exception:
            log.exception("a run was not told of: a bug")

    async def _tell(self, run: RunKey) -> None:
        if (followed := self._current(run)) is None:
            return
        self._elsewhere.say(*run)
        reading = await self._read(run, followed.seen)
        if self._runs.get(run) is not followed:
            return
        if reading is None:
            await self._push(followed, FeedNews(gone=[run[1]]))
            self._forget(run)
            return
        now = asyncio.get_running_loop().time()
        digest = _digest(reading.feed)
        is_new = digest != followed.digest
        if is_new or now - followed.told_at >= REST_SECONDS - GAP_SECONDS:
            followed.digest, followed.told_at = digest, now
            await self._push(followed, FeedNews([following.fitted(reading.feed, self._bus.room)]))
            followed.seen = _seen(reading)
        self._note(run, followed, reading)
        if reading.feed.run.state in TERMINAL:
            self._forget(run)

    async def _push(self, followed: _Followed, news: FeedNews) -> None:
        """Push the same bytes to all who follow."""
        data = encode(news)
        now = asyncio.get_running_loop().time()
        for inbox in [inbox for inbox, until in followed.inboxes.items() if until >= now]:
            if not failpoint("feed.before_push"):
                await self._bus.publish(inbox, data)

    async def _read(self, run: RunKey, after: Seen | None) -> Reading | None:
        followed = self._runs.get(run)
        counted = UNKNOWN if followed is None else followed.counted
        reading = await following.read(self._pool, run, after=after, counted=counted, look=self._look)
        if reading is not None and followed is not None:
            followed.counted = reading.counted
        return reading

    async def _look(self, namespace: str, session: str, run_id: str, items: int) -> Looked | None:
        return await self._looks.look(namespace, session, run_id, items=items)

    def _note(self, run: RunKey, followed: _Followed, reading: Reading) -> None:
        """Remember what was read, and have the run be looked at when that may not hold any more."""
        feed = reading.feed
        followed.session, followed.looked = reading.session, _sight(reading.looked)
        children = frozenset((run[0], one.run_id) for one in feed.open if one.run_id is not None)
        self._relate(run, followed, children)
        dates = [one.next_at for one in feed.open if one.next_at is not None and one.next_at > feed.now]
        if dates:
            self._pace.stir(run, seconds=(min(dates) - feed.now) / 1e6 + _LATE_SECONDS)
        if reading.session is not None and followed.looks < len(_LOOKS):
            self._glances.stir(run, seconds=_LOOKS[followed.looks])

    def _relate(self, run: RunKey, followed: _Followed, children: frozenset[RunKey]) -> None:
        for child in followed.children - children:
            self._parents[child].discard(run)
            if not self._parents[child]:
                del self._parents[child]
        for child in children - followed.children:
            self._parents[child].add(run)
        followed.children = children

    # -- what stands in memory of workers

    async def _keep_looking(self) -> NoReturn:
        while True:
            due = await self._glances.due()
            for start in range(0, len(due), _READERS):
                await asyncio.gather(*map(self._glance, due[start : start + _READERS]))

    async def _glance(self, run: RunKey) -> None:
        """Ask a run's worker what stands in its memory: if that is something else than before, the run is read."""
        followed = self._runs.get(run)
        if followed is None or followed.session is None:
            return
        namespace, run_id = run
        looked = await self._looks.look(namespace, followed.session, run_id, items=LOOKED_MOST)
        followed.looks += 1
        if looked is not None and looked.held and _sight(looked) != followed.looked:
            self._pace.stir(run)
        elif followed.looks < len(_LOOKS):
            self._glances.stir(run, seconds=_LOOKS[followed.looks])

    # -- room

    def _current(self, run: RunKey) -> _Followed | None:
        """Return what is known of a run that somebody still follows; drop those whose time is over."""
        if (followed := self._runs.get(run)) is None:
            return None
        now = asyncio.get_running_loop().time()
        over = [inbox for inbox, until in followed.inboxes.items() if until < now]
        if len(over) == len(followed.inboxes):
            self._forget(run)
            return None
        for inbox in over:
            del followed.inboxes[inbox]
        self._count(run[0], -len(over))
        return followed

    def _has_room(self, namespace: str) -> bool:
        return self._total < self._limit and self._counts[namespace] < self._limit // 2

    def _count(self, namespace: str, added: int) -> None:
        self._total += added
        self._counts[namespace] += added
        if not self._counts[namespace]:
            del self._counts[namespace]

    def _forget(self, run: RunKey) -> None:
        if (followed := self._runs.pop(run, None)) is not None:
            self._count(run[0], -len(followed.inboxes))
            self._relate(run, followed, frozenset())
            self._pace.forget(run)
            self._glances.forget(run)


def _seen(reading: Reading) -> Seen:
    return Seen(reading.feed.run.id, reading.generation, reading.feed.journal_seq)


def _digest(feed: RunFeed) -> bytes:
    """Return what differs if anything else is to be told than before."""
    return hashlib.blake2b(encode(replace(feed, now=0, since=0, outcomes=[], started=[])), digest_size=16).digest()


def _sight(looked: Looked | None) -> object:
    """Return what of a look is worth a read when it is another: which tries run, and what is waited for."""
    if looked is None:
        return None
    return [(one.key, one.attempt) for one in looked.tries], looked.calls, looked.phase
