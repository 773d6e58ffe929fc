"""Own the following of runs in full: one subscription per client, however many runs it follows.

The daemon pushes what has changed. Each push says from where it goes on: who finds that something before is missing
asks for that, and so does who hears nothing for longer than the daemon is silent, since that may be gone, or have no
room. Who is slow sees the newest state of each run alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Iterable
from itertools import islice
from typing import Final

import msgspec

from aiki.client.unknown import unknown_run
from aiki.client.waits import CALL_SECONDS, RETRY_SECONDS
from aiki.client.wire import Wire
from aiki.core.errors import FINAL, AikiError, UsageError
from aiki.core.states import State
from aiki.definitions.view import RunView
from aiki.definitions.viewing import Taken, Viewing, retried
from aiki.wire import codec
from aiki.wire.limits import FOLLOWED_RUNS, WATCH_SECONDS
from aiki.wire.messages import FeedNews, Follow, RunFeed

SILENT_SECONDS: Final = 7.0
"""The daemon says something of each run every five seconds."""
_LOOK_SECONDS: Final = 0.5

log = logging.getLogger("aiki.following")


class _Followed:
    """A run that is followed, and by whom."""

    def __init__(self, run_id: str) -> None:
        self.viewing = Viewing(run_id)
        self.readers: list[_Reader] = []
        self.asked_at = 0.0
        self.heard_at = 0.0
        self.is_asked = False
        self.ahead: RunFeed | None = None
        """What was pushed before what comes before it was answered."""


class _Reader:
    """One who follows runs: of each the newest state that it has not seen, or why there is none."""

    def __init__(self) -> None:
        self._news: dict[str, RunView | AikiError] = {}
        self._some = asyncio.Event()

    def put(self, run_id: str, news: RunView | AikiError) -> None:
        self._news.pop(run_id, None)
        self._news[run_id] = news
        self._some.set()

    async def next(self) -> tuple[str, RunView]:
        """Return the state that has waited for longest. Raises what its run came to."""
        while not self._news:
            self._some.clear()
            await self._some.wait()
        run_id = next(iter(self._news))
        news = self._news.pop(run_id)
        if isinstance(news, AikiError):
            raise news
        return run_id, news


class Follows:
    """The runs that a client follows."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inbox = ""
        self._runs: dict[str, _Followed] = {}
        self._wanted: dict[str, None] = {}
        self._asking: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop, and tell whoever still follows: nothing will come any more."""
        for task in (self._asking, self._polling):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for run_id in list(self._runs):
            what = f"run {run_id} was still followed when its client was closed"
            self._fail(run_id, UsageError(what, hint="follow it inside of the client's `async with` block"))

    async def follow(self, run_ids: Iterable[str], *, until: frozenset[State]) -> AsyncGenerator[RunView, None]:
        """Yield each run as it is now, then again at each change, until all are in one of the states of `until`.

        In the place of one that was retried its newest retry is followed. Raises NotFound.
        """
        self._wire.check_loop()
        await self._open()
        reader = _Reader()
        asked = {run_id: run_id for run_id in run_ids}
        """By the runs that are followed, which others were asked for in their place."""
        open = set(asked)
        self._enter(asked, reader)
        try:
            while open:
                run_id, view = await reader.next()
                first, newest = asked[run_id], view.status.retried_by
                if view.status.ended and newest is not None and newest not in asked:
                    asked[newest] = first
                    open = (open - {run_id}) | {newest}
                    self._leave([run_id], reader)
                    self._enter([newest], reader)
                    continue
                (open.discard if view.status.state in until else open.add)(run_id)
                yield view if run_id == first else retried(view, first)
        finally:
            self._leave(asked, reader)

    # -- who follows

    async def _open(self) -> None:
        """Begin to receive pushes, at the first call."""
        if not self._inbox:
            self._inbox = await self._wire.inbox(self._on_push)
            self._wire.on_return.append(self._on_return)
            self._polling = asyncio.create_task(self._poll())

    def _enter(self, run_ids: Iterable[str], reader: _Reader) -> None:
        for run_id in run_ids:
            followed = self._runs.setdefault(run_id, _Followed(run_id))
            followed.readers.append(reader)
            if followed.viewing.is_known and not followed.is_asked:
                reader.put(run_id, followed.viewing.view())
            else:
                self._ask([run_id])

    def _leave(self, run_ids: Iterable[str], reader: _Reader) -> None:
        for run_id in run_ids:
            followed = self._runs.get(run_id)
            if followed is not None and reader in followed.readers:
                followed.readers.remove(reader)
                if not followed.readers:
                    del self._runs[run_id]

    # -- what is told

    def _on_push(self, data: bytes) -> None:
        try:
            news = codec.decode(data, FeedNews)
        except msgspec.MsgspecError as error:
            # Whoever sees inboxes can write to them.
            log.debug("a push cannot be read: %s", error)
            return
        for feed in news.feeds:
            if (followed := self._runs.get(feed.run.id)) is not None:
                self._take(feed.run.id, followed, feed)
        self._ask(run_id for run_id in news.gone if run_id in self._runs)  # whether that is so the daemon says

    def _take(self, run_id: str, followed: _Followed, feed: RunFeed, *, is_answer: bool = False) -> None:
        taken = followed.viewing.take(feed, is_answer=is_answer)
        if taken is not Taken.OLD:  # else a stranger may have pushed what is newer than all that the daemon says
            followed.heard_at = time.monotonic()
        if taken is Taken.GAP:
            followed.ahead = feed
            self._ask([run_id])
        elif taken is Taken.NEW:
            self._tell(run_id, followed.viewing.view())

    def _tell(self, run_id: str, news: RunView | AikiError) -> None:
        followed = self._runs.get(run_id)
        for reader in followed.readers if followed is not None else ():
            reader.put(run_id, news)

    def _fail(self, run_id: str, error: AikiError) -> None:
        self._tell(run_id, error)
        self._runs.pop(run_id, None)

    # -- what is asked

    def _ask(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            self._runs[run_id].is_asked = True
            self._wanted[run_id] = None
        if self._wanted and self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())

    async def _ask_all(self) -> None:
        """Send what is wanted, in batches; what is asked for meanwhile goes with the next."""
        try:
            while self._wanted:
                batch = list(islice(self._wanted, FOLLOWED_RUNS))
                for run_id in batch:
                    del self._wanted[run_id]
                if batch := [run_id for run_id in batch if run_id in self._runs]:
                    await self._ask_batch(batch)
        finally:
            self._asking = None

    async def _ask_batch(self, batch: list[str]) -> None:
        request = Follow([self._runs[run_id].viewing.seen for run_id in batch], self._inbox, WATCH_SECONDS)
        try:
            reply = await self._wire.call(request, seconds=CALL_SECONDS)
        except FINAL as error:
            for run_id in batch:
                self._fail(run_id, error)
            return
        except AikiError as error:
            self._wire.unserved(error)
            self._ask(run_id for run_id in batch if run_id in self._runs)
            await asyncio.sleep(RETRY_SECONDS)
            return
        rest = batch[len(batch) - reply.rest :]
        missing = set(batch).difference(rest)
        for feed in reply.runs:
            missing.discard(feed.run.id)
            self._answered(feed)
        for run_id in missing:
            self._fail(run_id, unknown_run(run_id, self._wire.namespace))
        self._ask(run_id for run_id in rest if run_id in self._runs)

    def _answered(self, feed: RunFeed) -> None:
        """Take in what was asked for, and what came before it was answered."""
        run_id = feed.run.id
        if (followed := self._runs.get(run_id)) is None:
            return
        followed.is_asked, followed.asked_at = False, time.monotonic()
        ahead, followed.ahead = followed.ahead, None
        self._take(run_id, followed, feed, is_answer=True)
        if ahead is not None and not followed.is_asked:
            self._take(run_id, followed, ahead)

    def _on_return(self) -> None:
        """Ask about all runs: what was pushed while NATS was away is lost."""
        self._ask(list(self._runs))

    async def _poll(self) -> None:
        """Ask before a registration runs out, and of runs of which nothing is heard."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            self._ask(
                [
                    run_id
                    for run_id, one in self._runs.items()
                    if not one.is_asked
                    and (now - one.asked_at >= WATCH_SECONDS / 2 or now - one.heard_at >= SILENT_SECONDS)
                ]
            )
