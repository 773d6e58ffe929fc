"""Own what this daemon has done lately, added up by route and minute until it is written.

It is counted from what commits have changed, after them: no statement knows of it. A minute is that of the database's
clock at the commit, as the runs themselves have it. How many routes it remembers at a time is bounded: beyond that
something is left out of the count, and said so.
"""

from __future__ import annotations

import logging
from typing import Final

from aiki.core.states import State
from aikid.engine.changes import Changes
from aikid.engine.routes import RouteKey
from aikid.store.minutes import MINUTE, Cell
from aikid.tell.alarm import Alarm

log = logging.getLogger("aikid.tell")

MOST: Final = 10_000
"""Routes, each in a minute, that are remembered."""
_MANY: Final = MOST // 2
"""With so many it is time to write."""


class Tally:
    """The counts since they were taken last."""

    def __init__(self) -> None:
        self.alarm = Alarm()
        """Rings when there is much to write."""
        self._cells: dict[tuple[RouteKey, int], Cell] = {}
        self._left_out = 0

    def add(self, changes: Changes) -> None:
        """Count what a commit has changed."""
        for (route, now), count in changes.enqueued.items():
            if (cell := self._cell(route, now)) is not None:
                cell.enqueued += count
        for namespace, ended in changes.ended.items():
            for one in ended:
                if one.since is not None and one.workflow is not None and one.version is not None:
                    route = (namespace, one.workflow, one.version)
                    self._end(route, one.unit.fence.run_id, one.state, one.now, one.since)
        for run in changes.finished:
            self._end(run.route, run.run_id, run.state, run.now, run.since)

    def take(self) -> list[Cell]:
        """Return what was counted since this was called last; it begins anew."""
        if self._left_out:
            log.warning("more than %d routes at a time: %d runs are not counted", MOST, self._left_out)
        cells, self._cells, self._left_out = list(self._cells.values()), {}, 0
        return cells

    def _cell(self, route: RouteKey, now: int) -> Cell | None:
        place = (route, now // MINUTE)
        if (cell := self._cells.get(place)) is None:
            if len(self._cells) >= MOST:
                self._left_out += 1
                return None
            cell = self._cells[place] = Cell(*route, minute=place[1])
            if len(self._cells) == _MANY:
                self.alarm.ring()
        return cell

    def _end(self, route: RouteKey, run_id: str, state: State, now: int, since: int) -> None:
        if (cell := self._cell(route, now)) is not None:
            cell.end(run_id, state, now - since)
