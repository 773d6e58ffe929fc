"""Own how a run is shown: as JSON, as cells of TSV, as a line and as a page for people."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiki_cli.view.documents.runs import RunList, Runs
from aiki_cli.view.found import End, Line, Rows
from aiki_cli.view.moments import dated, span
from aiki_cli.view.output import is_terminal
from aiki_cli.view.plain import to_object
from aiki_cli.view.text import lines, one_line, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aiki import RunStatus, TaskProgress
    from aiki.client.matching import RunCount
    from aiki.definitions.status import ImportedFrom

TSV_COLUMNS: Final = "id state workflow version created_at started_at finished_at due_at attempt claims tasks key why"
_WIDE: Final = 110
"""Columns of a screen from which on there is room for whole ids."""
SIGNS: Final = {
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("⊘", "yellow"),
    "blocked": ("!", "red"),
    "paused": ("‖", "yellow"),
    "running": ("●", "cyan"),
    "queued": ("○", "default"),
    "scheduled": ("◷", "default"),
    "sleeping": ("◷", "blue"),
    "waiting": ("…", "blue"),
    "retrying": ("↻", "yellow"),
}


def line(run: RunStatus) -> Line:
    """Return the run as a line; its cells are TSV_COLUMNS."""
    cells = {**to_object(run), "why": run.why or _shown(run) or None}
    return Line(run, [cells[name] for name in TSV_COLUMNS.split()], run.run_id)


def rows(runs: Sequence[RunStatus], *, alone: bool, code: int = 0) -> Rows:
    """Return runs that were asked for; one that stands `alone` fills a page, and is a document of its own."""
    return Rows(
        map(line, runs),
        page=lambda: [page(runs[0]) if alone and runs else table(runs)],
        document=lambda _: runs[0] if alone else Runs(runs),
        end=End(code),
    )


def listed(runs: Sequence[RunStatus], *, cursor: str | None, limit: int) -> Rows:
    """Return a list of at most `limit` runs; `cursor` says where others are looked for, if there may be any."""
    none = [] if runs or cursor is not None else ["no runs"]
    go_on = f"the same again with --cursor {cursor}"
    is_full = len(runs) == limit
    return Rows(
        map(line, runs),
        page=lambda: [table(runs)] if runs else [],
        document=lambda _: RunList(runs, cursor),
        asides=none if cursor is None or not is_full else [f"there are more: {go_on}"],
        end=End(said=None if cursor is None or is_full else f"not all were looked at: {go_on}"),
    )


def counted(count: RunCount) -> Line:
    """Return how many runs there are."""
    # Not a number where there are more: as in a summary.
    return Line(count, f"{count.runs}+" if count.capped else str(count.runs))


def table(runs: Sequence[RunStatus]) -> RenderableType:
    """Return runs as lines for people; where the screen is narrow, with the ends of their ids, which name them too."""
    from aiki_cli.view.drawing import columns, console

    now = datetime.now(UTC)
    width = console().width
    rows = [
        [
            name_on(width, run.run_id),
            state_text(run.state),
            f"{run.workflow} {run.version}",
            span(now - run.created_at),
            summary(run, now),
        ]
        for run in runs
    ]
    return columns(rows, ["RUN", "STATE", "WORKFLOW", "AGE", ""], last_is_cut=is_terminal(sys.stdout))


def page(run: RunStatus, *, payload: object = ...) -> RenderableType:
    """Return all that is known of one run, for people; with its input, if that is given."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now = datetime.now(UTC)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(run, now):
        if value:
            facts.add_row(name, lines(value))
    if payload is not ...:
        facts.add_row("input", to_json(payload, indent=2))
    title = Text.assemble(
        (state_text(run.state), SIGNS.get(run.state, ("", "default"))[1]), one_line(f"  {run.workflow} {run.version}")
    )
    return Group(title, facts)


def name_on(width: int, run_id: str) -> str:
    """Return the id of a run, or where the screen is narrow its end, which names it too."""
    return run_id if width >= _WIDE else run_id.rpartition("-")[2]


def state_text(state: str) -> str:
    """Return the state with its sign: never colour alone."""
    return f"{SIGNS.get(state, ('?', ''))[0]} {state}"


def summary(run: RunStatus, now: datetime) -> str:
    """Return what matters most about a run in its state."""
    if run.imported is not None and run.ended:
        return f"imported from namespace {run.imported.namespace!r}"
    if run.error is not None and run.ended:
        return _error(run)
    if run.is_explained and run.why:
        return run.why
    if run.waits:
        most = f", {span(run.due_at - now)} at most" if run.due_at is not None and run.due_at > now else ""
        return f"for {', '.join(run.waits)}{most}"
    if run.due_at is not None and run.due_at > now:
        due = f"{'again' if run.state == 'running' else 'goes on'} in {span(run.due_at - now)}"
        return f"{due} ({run.why})" if run.why else due
    if run.why:
        return run.why
    if run.finished_at is not None:
        return f"in {span(run.finished_at - (run.started_at or run.created_at))}"
    return _shown(run) or (f"on {run.worker}" if run.worker else "")


def _facts(run: RunStatus, now: datetime) -> list[tuple[str, str | None]]:
    ended = run.finished_at
    started = run.started_at
    has_result = run.result is not None or not run.why  # one that is not shown has a reason, and so may any other
    return [
        ("run", run.run_id),
        ("retry of", run.retry_of or (run.origin_id if run.origin_id != run.run_id else None)),
        ("retried by", run.retried_by),
        ("child of", run.parent_id and _ancestry(run.parent_id, run.depth)),
        ("children", f"{run.children:,}" if run.children else None),
        ("schedule", f"{run.schedule.id}, slot {dated(run.schedule.slot, now)}" if run.schedule else None),
        ("imported", _origin(run.imported, now) if run.imported else None),
        ("created", dated(run.created_at, now)),
        ("started", dated(started, now)),
        ("waits for", ", ".join(run.waits)),
        ("again" if run.state == "running" else "at the latest" if run.waits else "goes on", dated(run.due_at, now)),
        ("unread", f"{run.unread:,} event{'' if run.unread == 1 else 's'}" if run.unread else None),
        ("deadline", dated(run.deadline, now)),
        ("finished", f"{dated(ended, now)}, after {span(ended - (started or run.created_at))}" if ended else None),
        ("tasks", str(run.tasks) if run.tasks else None),
        ("attempt", str(run.attempt) if run.attempt > 1 else None),
        ("generation", f"{run.generation:,}" if run.generation else None),
        ("claims", str(run.claims) if run.claims > 1 else None),
        ("worker", run.worker),
        ("progress", "\n".join(map(_progress, run.progress))),
        ("details", None if run.details is None else to_json(run.details, indent=2)),
        ("key", run.key),
        ("labels", ", ".join(f"{name}={value}" for name, value in run.labels.items())),
        ("priority", str(run.priority) if run.priority else None),
        ("why", run.why),
        ("error" if run.ended else "last error", _error(run) if run.error else None),
        ("result", to_json(run.result, indent=2) if run.state == "completed" and has_result else None),
    ]


def _origin(imported: ImportedFrom, now: datetime) -> str:
    by = f" by {imported.actor}" if imported.actor else ""
    exported = dated(imported.exported_at, now)
    return (
        f"from namespace {imported.namespace!r}, where it was {imported.state} when it was exported, {exported};"
        f" {dated(imported.imported_at, now)}{by}. Nothing moves it here."
    )


def _ancestry(parent_id: str, depth: int) -> str:
    return parent_id if depth <= 1 else f"{parent_id}, {depth} levels below its root"


def _shown(run: RunStatus) -> str:
    """Return what a run shows of itself, in a line: how far its tasks are, or else its details."""
    if run.progress:
        return _progress(run.progress[0])
    return "" if run.details is None or run.ended else to_json(run.details)


def _progress(said: TaskProgress) -> str:
    """Return the progress of one task in a line: `import 40 % rows of May`."""
    return f"{said.task} {said.fraction:.0%} {said.message}".rstrip()


def _error(run: RunStatus) -> str:
    if run.error is None:
        return ""
    task = f"task {run.error.task}: " if run.error.task else ""
    return f"{task}{run.error.type}: {run.error.message}"
