"""Tell everybody who cares what a commit changed: the alarm, watchers and other daemons, workers, the tally.

Best effort, and after the commit: whatever is lost here is found by who looks, or asks again. So nothing is raised.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from aikid.engine.changes import Born, Changes
from aikid.tell.alarm import Alarm
from aikid.tell.handoffs import Handoffs
from aikid.tell.holders import Holders
from aikid.tell.lines import Lines
from aikid.tell.namespaces import Namespaces
from aikid.tell.news import News
from aikid.tell.offerer import Offerer
from aikid.tell.tally import Tally
from aikid.tell.watchers import Watchers

log = logging.getLogger("aikid.tell")


@dataclass(frozen=True, slots=True)
class Alarms:
    """Who looks for what a commit has left to be done later."""

    times: Alarm = field(default_factory=Alarm)
    """What is due at some time."""
    schedules: Alarm = field(default_factory=Alarm)
    errands: Alarm = field(default_factory=Alarm)
    lines: Lines = field(default_factory=Lines)
    """Of who waits for keys of tasks."""


class Teller:
    """The one place that tells."""

    def __init__(
        self,
        watchers: Watchers,
        news: News,
        namespaces: Namespaces,
        offerer: Offerer,
        handoffs: Handoffs,
        holders: Holders,
        alarms: Alarms,
        tally: Tally,
    ) -> None:
        self._watchers = watchers
        self._news = news
        self._namespaces = namespaces
        self._offerer = offerer
        self._handoffs = handoffs
        self._holders = holders
        self._alarms = alarms
        self._tally = tally

    def before_replies(self, changes: Changes) -> None:
        """Send what leaves together with the replies, and take note of what must be known before a caller hears."""
        if changes.handed:
            self._handoffs.push(changes.handed)
        if changes.told:
            self._holders.tell(changes.told, changes.came)
        for born in changes.born:
            self._born(born)

    async def tell(self, changes: Changes) -> None:
        """Tell of what a commit changed; its callers have been answered. A bug in one word leaves the others be."""
        if changes.due_seconds is not None:
            self._alarms.times.due_in(changes.due_seconds)
        if changes.fires_seconds is not None:
            self._alarms.schedules.due_in(changes.fires_seconds)
        if changes.errands:
            self._alarms.errands.ring()
        self._tally.add(changes)
        self._tell_lines(changes)
        for telling in (self._tell_workers, self._tell_watchers):
            try:
                await telling(changes)
            except Exception:
                log.exception("a change was not told of: a bug")

    async def tell_all(self, changes: Changes) -> None:
        """Tell of a commit that answers nobody."""
        self.before_replies(changes)
        await self.tell(changes)

    def _tell_lines(self, changes: Changes) -> None:
        lines = self._alarms.lines
        if changes.waits_for_keys:
            lines.begun()
        if changes.keys:
            lines.over(changes.keys)
        elif changes.ended or changes.settled or changes.changed:
            lines.may_be_free()

    async def _tell_workers(self, changes: Changes) -> None:
        if changes.woken:
            changes.add(await self._handoffs.claim(changes.woken))
        if changes.claimed:
            self._offerer.claimed(changes.claimed, more=changes.more)
        if changes.queued:
            await self._offerer.queued(changes.queued)

    async def _tell_watchers(self, changes: Changes) -> None:
        for namespace, ended in changes.ended.items():
            await self._news.ended(namespace, ended)
        for namespace, ids in changes.settled.items():
            await self._news.changed(namespace, ids, end=True)
        for namespace, ids in changes.changed.items():
            await self._news.changed(namespace, ids)
        for namespace, ids in changes.recorded.items():
            self._news.recorded(namespace, ids)
        for (namespace, _), told in changes.told.items():
            self._news.recorded(namespace, [run_id for run_id, _ in told])
        self._namespaces.changed(changes)

    def _born(self, born: Born) -> None:
        for namespace, request in born.calls:
            if request.inbox is not None:
                self._watchers.born(namespace, request.runs, born.now, born.others)
