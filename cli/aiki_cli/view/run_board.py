"""Own what is known of runs that are watched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.text import Text

    from aiki.definitions.view import RunView

_ANY_WIDTH: Final = 10_000


class RunBoard:
    """Runs that are watched, by the ids that were asked for: a retry stands in the place of its run."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        self._asked = list(dict.fromkeys(run_ids))
        self._views: dict[str, RunView] = {}

    def take(self, news: RunView) -> str | None:
        """Take in how a run is, and return what has changed of it in a line."""
        from aiki_cli.view.telling import told

        place = news.status.retry_of or news.status.run_id
        before = self._views.get(place)
        if before is not None and before.status.run_id != news.status.run_id:
            before = None
        self._views[place] = news
        return told(before, news, datetime.now(UTC))

    def frame(self, now: datetime, width: int, height: int) -> Sequence[Text]:
        """Return one run with all its calls, or several in a line each."""
        from aiki_cli.view import live_run, live_runs

        if len(self._asked) > 1:
            known = [view.status for view in self._views.values()]
            return live_runs.frame(known, now, asked=len(self._asked), width=width, height=height)
        return [line for view in self._views.values() for line in live_run.frame(view, now, width=width, height=height)]

    def rest(self, now: datetime, width: int, height: int) -> Sequence[Text]:
        """Return the end of a run in a few lines, or the total of several."""
        from aiki_cli.view import live_run, live_runs

        if len(self._asked) > 1:
            known = [view.status for view in self._views.values()]
            return live_runs.totals(known, now, asked=len(self._asked), width=width)
        return [line for view in self._views.values() for line in live_run.rest(view, now, width=width)]

    def sign_of_life(self, now: datetime) -> str:
        """Return that the runs are still waited for, and why the one does not move."""
        from aiki_cli.view.live_runs import totals
        from aiki_cli.view.telling import note

        known = [view.status for view in self._views.values()]
        if len(self._asked) > 1 or not known:
            return " ".join(line.plain for line in totals(known, now, asked=len(self._asked), width=_ANY_WIDTH))
        (run,) = known
        return f"{run.run_id} still {run.state}: {note(run, now)}"
