"""Own the summary of a namespace: how many runs of each workflow are in which state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiki_cli import exits
from aiki_cli.session import Session
from aiki_cli.view.output import Mode, columns, console
from aiki_cli.view.text import to_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiki.client.runs import NamespaceSummary

WATCH_SECONDS: Final = 1.0
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


async def show_summary(session: Session, *, watch: bool) -> int:
    """Show the summary; with `watch` again each second, until Ctrl-C."""
    async with session.connect() as client:
        latest = await client.runs.summary()
        if not watch:
            _show(session, latest)
        elif not session.out.live:
            while True:
                _show(session, latest)
                session.out.go_on()
                await asyncio.sleep(WATCH_SECONDS)
                latest = await client.runs.summary()
        else:
            from rich.live import Live

            with Live(get_renderable=lambda: _table(latest), console=console(), refresh_per_second=2):
                while True:
                    session.out.go_on()
                    await asyncio.sleep(WATCH_SECONDS)
                    latest = await client.runs.summary()
    return exits.OK


def _show(session: Session, summary: NamespaceSummary) -> None:
    out = session.out
    counts = [
        {"workflow": count.workflow, "version": count.version, "state": str(count.state), "runs": count.runs}
        for count in summary.counts
    ]
    match out.mode:
        case Mode.JSON:
            out.document({"counts": counts, "workers": summary.workers})
        case Mode.JSONL:
            for count in counts:
                out.write(to_json(count))
        case Mode.TABLE:
            out.draw(_table(summary))
        case Mode.TSV:
            for count in counts:
                out.row(count.values())
        case Mode.IDS:
            pass  # a summary has no ids


def _table(summary: NamespaceSummary) -> RenderableType:
    from rich.console import Group

    by_route: dict[tuple[str, str], dict[str, int]] = {}
    for count in summary.counts:
        by_route.setdefault((count.workflow, count.version), {})[str(count.state)] = count.runs
    states = [state for state in _ORDER if any(state in counts for counts in by_route.values())]
    rows = [
        [f"{workflow} {version}", *(f"{counts.get(state, 0):,}" for state in states)]
        for (workflow, version), counts in sorted(by_route.items())
    ]
    workers = f"{summary.workers} worker{'' if summary.workers == 1 else 's'}"
    if not rows:
        return Group("no runs yet", workers)
    return Group(columns(rows, ["WORKFLOW", *(state.upper() for state in states)], last_is_wide=False), workers)
