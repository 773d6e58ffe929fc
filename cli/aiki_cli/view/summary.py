"""Own the summary of a namespace: how many runs of each workflow are in which state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiki_cli.view.found import Line, Rows

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiki.client.counts import NamespaceSummary, RouteCount

_ORDER: Final = (
    "running",
    "queued",
    "scheduled",
    "sleeping",
    "waiting",
    "retrying",
    "paused",
    "blocked",
    "completed",
    "failed",
    "cancelled",
)


def rows(summary: NamespaceSummary) -> Rows:
    """Return the summary: a line a count. It has no ids."""
    return Rows(
        map(_line, summary.counts),
        page=lambda: [_table(summary)],
        document=lambda _: summary,
    )


def _line(count: RouteCount) -> Line:
    # Not a number where there are more: a script that adds it up must not come to a sum that is too small.
    runs = f"{count.runs}+" if count.capped else count.runs
    return Line(count, [count.workflow, count.version, count.state, runs])


def _table(summary: NamespaceSummary) -> RenderableType:
    from rich.console import Group

    from aiki_cli.view.drawing import columns

    by_route: dict[tuple[str, str], dict[str, str]] = {}
    for count in summary.counts:
        shown = f"{count.runs:,}{'+' if count.capped else ''}"
        by_route.setdefault((count.workflow, count.version), {})[str(count.state)] = shown
    states = [state for state in _ORDER if any(state in counts for counts in by_route.values())]
    rows = [
        [f"{workflow} {version}", *(counts.get(state, "0") for state in states)]
        for (workflow, version), counts in sorted(by_route.items())
    ]
    workers = f"{summary.workers} worker{'' if summary.workers == 1 else 's'}"
    if not rows:
        return Group("no runs yet", workers)
    return Group(columns(rows, ["WORKFLOW", *(state.upper() for state in states)], last_is_wide=False), workers)
