"""Own how the room is shown that runs take up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiki_cli.view.found import Line, Rows

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiki.client.storage import StorageUse, TableSize, WorkflowSize

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_STEP: Final = 1024
_SHOWN_TABLES: Final = 12


def rows(use: StorageUse) -> Rows:
    """Return a line a table, then one a workflow."""
    lines = [*map(_table_line, use.tables), *map(_workflow_line, use.workflows)]
    return Rows(lines, page=lambda: _page(use), document=lambda _: use, asides=_asides(use))


def _table_line(one: TableSize) -> Line:
    return Line(one, ["table", one.name, one.rows, one.bytes, one.index_bytes, "", "", ""])


def _workflow_line(one: WorkflowSize) -> Line:
    cells = [one.workflow, one.runs, one.bytes, "", one.ended, one.free_runs, one.free_bytes]
    return Line(one, ["workflow", *cells])


def _page(use: StorageUse) -> list[RenderableType]:
    from aiki_cli.view.drawing import columns

    about = "" if use.exact else "~"
    shown = use.tables[:_SHOWN_TABLES]
    tables = [
        [one.name, f"{one.rows:,}", size(one.bytes), size(one.index_bytes), size(one.total_bytes)] for one in shown
    ]
    workflows = [
        [
            one.workflow,
            *(f"{about}{count:,}" for count in (one.runs, one.ended)),
            f"{about}{size(one.bytes)}",
            _free(one, about),
        ]
        for one in use.workflows
    ]
    drawn: list[RenderableType] = []
    if tables:
        drawn += [columns(tables, ["TABLE", "ROWS", "DATA", "INDEXES", "TOTAL"], last_is_wide=False), ""]
    return [*drawn, columns(workflows, ["WORKFLOW", "RUNS", "ENDED", "SIZE", "RETENTION FREES"], last_is_wide=False)]


def _free(one: WorkflowSize, about: str) -> str:
    if not one.free_runs:
        return "-"
    return f"{about}{one.free_runs:,} runs, {about}{size(one.free_bytes)}"


def _asides(use: StorageUse) -> list[str]:
    total = f"{size(use.total_bytes)} in {len(use.tables)} tables" if use.tables else "no tables: all is in memory"
    if use.exact:
        return [total]
    return [f"{total}; what workflows take up is extrapolated from {use.sampled:,} of about {use.runs:,} runs"]


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    number = float(count)
    for unit in _UNITS:
        if number < _STEP or unit == _UNITS[-1]:
            break
        number /= _STEP
    return f"{number:.0f} {unit}" if unit == _UNITS[0] else f"{number:.1f} {unit}"
