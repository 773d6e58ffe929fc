"""Own how the changes of runs are shown to scripts: a line of a run's status, where that has changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiki.definitions.view import CallState, RunView
from aiki_cli.view.clock import ticking
from aiki_cli.view.found import Line
from aiki_cli.view.runs import line
from aiki_cli.view.text import to_json

if TYPE_CHECKING:
    from aiki import RunStatus

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class RunChanges:
    """The runs as they were told last."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[RunStatus, str]] = {}

    def line(self, view: RunView) -> Line | None:
        """Return the run as a line; None if nothing has changed of it but its calls, or what ticks."""
        run = view.status
        shown = line(run)
        far = _far(view)
        if far and not isinstance(shown.plain, str) and shown.plain is not None:
            shown = replace(shown, plain=[*shown.plain[:-1], far])
        timeless = replace(run, why=run.why and ticking(run.why, _EPOCH)), far
        if self._told.get(run.run_id) == timeless:
            return None
        self._told[run.run_id] = timeless
        return shown


def _far(view: RunView) -> str:
    """Return how far the newest of its running tasks is that says so, or what it shows of itself while one runs."""
    running = [call for call in view.calls if call.state is CallState.RUNNING]
    if far := [call for call in running if call.fraction is not None]:
        return f"{far[-1].name} {far[-1].fraction:.0%} {far[-1].message}".rstrip()
    return to_json(view.status.details) if running and view.status.details is not None else ""
