"""Own the summary of a namespace in each form: its counts in lines for scripts, all of it as a page for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiki_cli.view.found import Line, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aiki.client.counts import NamespaceSummary, RouteCount


def rows(summary: NamespaceSummary) -> Rows:
    """Return the summary: a line a count. It has no ids."""
    return Rows(
        map(_line, summary.counts),
        page=lambda: _page(summary),
        document=lambda _: summary,
    )


def _line(count: RouteCount) -> Line:
    # Not a number where there are more: a script that adds it up must not come to a sum that is too small.
    runs = f"{count.runs}+" if count.capped else count.runs
    return Line(count, [count.workflow, count.version, count.state, runs])


def _page(summary: NamespaceSummary) -> Sequence[RenderableType]:
    from aiki_cli.view.drawing import console
    from aiki_cli.view.overview import lines

    return lines(summary, datetime.now(UTC), width=console().width, height=None)
