"""Own how the versions of workflows are shown: what is in flight of each, who serves it, and what that means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from aiki_cli.view.documents.workflows import WorkflowVersion, WorkflowVersions
from aiki_cli.view.found import Line, Rows
from aiki_cli.view.moments import dated, distance
from aiki_cli.view.plain import to_object
from aiki_cli.view.text import lines, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aiki.client.matching import RunCount
    from aiki.client.workflows import WorkflowInfo

TSV_COLUMNS: Final = "workflow version standing in_flight workers last_start code_since retention"
_ORDER: Final = ("running", "queued", "scheduled", "sleeping", "waiting", "retrying", "paused", "blocked")


def standing(info: WorkflowInfo) -> Literal["served", "unserved", "stranded", "drained"]:
    """Return in a word how a version stands."""
    if info.is_stranded:
        return "stranded"
    if info.is_drained:
        return "drained"
    return "served" if info.workers else "unserved"


def _told(info: WorkflowInfo) -> WorkflowVersion:
    return WorkflowVersion.of(info, standing=standing(info))


def listed(infos: Sequence[WorkflowInfo]) -> Rows:
    """Return a list of versions; those that need a person are named beside it."""
    return Rows(
        map(_line, infos),
        page=lambda: [_table(infos)] if infos else [],
        document=lambda _: WorkflowVersions([_told(info) for info in infos]),
        asides=_asides(infos) if infos else ["no workflows: aiki worker start -m MODULE"],
    )


def whole(infos: Sequence[WorkflowInfo]) -> Rows:
    """Return all that is known of versions of one workflow."""
    return Rows(
        map(_line, infos),
        page=lambda: [_page(info) for info in infos],
        document=lambda _: WorkflowVersions([_told(info) for info in infos]),
        asides=_asides(infos),
    )


def _line(info: WorkflowInfo) -> Line:
    value = _told(info)
    cells = {**to_object(value), "in_flight": _counted(info.in_flight, plain=True)}
    return Line(value, [cells[name] for name in TSV_COLUMNS.split()])


def _counted(count: RunCount, *, plain: bool = False) -> str:
    return f"{count.runs if plain else f'{count.runs:,}'}{'+' if count.capped else ''}"


def _by_state(info: WorkflowInfo) -> str:
    counts = {str(state): count for state, count in info.runs.items()}
    return ", ".join(f"{_counted(counts[state])} {state}" for state in _ORDER if state in counts) or "-"


def _table(infos: Sequence[WorkflowInfo]) -> RenderableType:
    from aiki_cli.view.drawing import columns

    now = datetime.now(UTC)
    rows = [
        [
            info.name,
            info.version,
            standing(info),
            str(info.workers),
            "-" if info.last_start is None else distance(info.last_start, now),
            "-" if info.code_since is None else distance(info.code_since, now),
            info.retention,
            _by_state(info),
        ]
        for info in infos
    ]
    titles = ["WORKFLOW", "VERSION", "STANDING", "WORKERS", "LAST START", "CODE SINCE", "RETENTION", "IN FLIGHT"]
    return columns(rows, titles)


def _page(info: WorkflowInfo) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(info):
        if value:
            facts.add_row(name, lines(value))
    return Group(Text(f"{info.name} {info.version}"), facts, "")


def _facts(info: WorkflowInfo) -> list[tuple[str, str | None]]:
    now = datetime.now(UTC)
    more = info.workers - len(info.worker_names)
    names = ", ".join([*info.worker_names, *([f"{more:,} more"] if more else [])])
    code = dated(info.code_since, now)
    return [
        ("standing", _meaning(info)),
        ("in flight", _by_state(info)),
        ("workers", f"{info.workers:,}: {names}" if info.workers else "none that lives"),
        ("last start", dated(info.last_start, now)),
        ("code since", code and f"{code}, by {info.code_by}"),
        ("retention", info.retention),
        ("tasks", ", ".join(info.tasks) or None),
        ("parameters", None if info.parameters is None else to_json(info.parameters)),
        ("events", None if info.events is None else ", ".join(info.events) or "none"),
    ]


def _meaning(info: WorkflowInfo) -> str:
    match standing(info):
        case "stranded":
            return "stranded: runs are in flight, and no live worker serves it"
        case "drained":
            return "drained: a later version is there, and nothing of it is in flight or scheduled: its code may go"
        case "served":
            return "served"
        case _:
            return "unserved: no live worker serves it, and no run waits for one"


def _asides(infos: Sequence[WorkflowInfo]) -> list[str]:
    said = []
    for info in infos:
        name = f"{info.name} {info.version}"
        if info.is_stranded:
            ever = "" if info.is_registered else ", and none ever has"
            said.append(
                f"{name}: {_counted(info.in_flight)} in flight, and no live worker serves it{ever}; start one, or move"
                f" what may go: aiki run move --workflow {info.name} --to-version V -m NAME"
            )
        elif info.is_drained and info.workers:
            said.append(
                f"{name}: drained, so its code may go; failed runs of it can be retried only while it is served"
            )
    return said
