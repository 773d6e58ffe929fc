"""Own how it is shown what a check has found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aiki import PayloadError
from aiki_cli import exits
from aiki_cli.view.documents.checked import (
    CheckedManifest,
    CheckedSchedule,
    CheckedWorkflow,
    CheckProblem,
    CheckWarning,
    ProblemLine,
    ScheduleLine,
    WarningLine,
    WorkflowLine,
)
from aiki_cli.view.found import Drawing, End, Line, Rows
from aiki_cli.view.moments import local, utc
from aiki_cli.view.schedules import rule

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import RenderableType

    from aiki import AikiError
    from aiki.definitions.catalogue import Entry
    from aiki_cli.words.checking import Checked, Problem, Warned, Where
    from aiki_cli.words.checking import CheckedSchedule as Declared


def rows(checked: Checked, *, is_strict: bool) -> Rows:
    """Return all that was found; the exit code is that of the first problem, or with `is_strict` tells of warnings."""
    warned = exits.WARNED if is_strict and checked.warnings else exits.OK
    return Rows(
        list(_lines(checked)),
        page=lambda: _page(checked),
        document=lambda _: to_document(checked),
        end=End(warned, error=_error(checked.problems)),
    )


def to_document(checked: Checked) -> CheckedManifest:
    """Return what JSON says of it."""
    return CheckedManifest(
        is_ok=not checked.problems,
        manifest=None if checked.file is None else str(checked.file),
        project=checked.project,
        workflows=[CheckedWorkflow(**_workflow(entry)) for entry in checked.workflows],
        schedules=[CheckedSchedule(**_schedule(schedule)) for schedule in checked.schedules],
        warnings=[CheckWarning(**_warned(warned)) for warned in checked.warnings],
        problems=[CheckProblem(**_refused(problem)) for problem in checked.problems],
    )


def _workflow(entry: Entry) -> dict[str, Any]:
    return {one.name: getattr(entry, one.name) for one in fields(entry)}


def _schedule(schedule: Declared) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "workflow": schedule.workflow,
        "version": schedule.version,
        "when": rule(schedule.when),
        "timezone": schedule.when.timezone,
        "next": schedule.next,
        **_where(schedule.where),
    }


def _warned(warned: Warned) -> dict[str, Any]:
    return {"message": warned.what, "hint": warned.instead, **_where(warned.where)}


def _refused(problem: Problem) -> dict[str, Any]:
    error = problem.error
    hint = error.command or error.hint
    return {"code": error.code, "message": error.message, "hint": hint, **_where(problem.where)}


def _where(where: Where) -> dict[str, Any]:
    return {"file": where.file, "line": where.line}


def _error(problems: Sequence[Problem]) -> AikiError | None:
    """Return the first problem, which tells of the others. The payload's come last: a manifest is repaired first."""
    if not problems:
        return None
    first, *others = sorted((one.error for one in problems), key=lambda error: isinstance(error, PayloadError))
    for other in others:
        first.add_note(other.message)
    return first


def _lines(checked: Checked) -> Iterator[Line]:
    for entry in checked.workflows:
        place = f"{entry.file}:{entry.line}"
        cells = ["workflow", entry.name, entry.version, _parameters(entry), ",".join(entry.tasks), place]
        yield Line(WorkflowLine(**_workflow(entry)), cells, entry.name)
    for schedule in checked.schedules:
        route = [schedule.workflow, schedule.version or ""]
        slots = ",".join(str(utc(slot)) for slot in schedule.next)
        cells = ["schedule", schedule.name, *route, _rule(schedule), slots]
        yield Line(ScheduleLine(**_schedule(schedule)), cells, schedule.name)
    for warned in checked.warnings:
        yield Line(WarningLine(**_warned(warned)), ["warning", str(warned.where), warned.what])
    for one in checked.problems:
        yield Line(ProblemLine(**_refused(one)), ["problem", str(one.where), one.error.message])


def _page(checked: Checked) -> Sequence[Drawing]:
    found: list[Drawing] = []
    if checked.workflows:
        found.append(_workflows(checked.workflows))
    if checked.schedules:
        found.append(_schedules(checked.schedules))
    found += [f"warning: {warned.where}: {warned.what}" for warned in checked.warnings]
    if not checked.problems:
        counted = f"{_counted(checked.workflows, 'workflow')}, {_counted(checked.schedules, 'schedule')}"
        found.append(f"✓ {checked.file or 'no manifest'}: {counted}, {_counted(checked.warnings, 'warning')}")
    return found


def _counted(things: Sequence[object], word: str) -> str:
    return f"{len(things):,} {word}{'' if len(things) == 1 else 's'}"


def _workflows(entries: Sequence[Entry]) -> RenderableType:
    from aiki_cli.view.drawing import columns

    shown = [
        [entry.name, entry.version, _parameters(entry), ", ".join(entry.events or ()), ", ".join(entry.tasks)]
        for entry in entries
    ]
    return columns(shown, ["WORKFLOW", "VERSION", "PARAMETERS", "EVENTS", "TASKS"])


def _schedules(schedules: Sequence[Declared]) -> RenderableType:
    from aiki_cli.view.drawing import columns

    shown = [[one.name, one.workflow, _rule(one), ", ".join(map(_told, one.next))] for one in schedules]
    return columns(shown, ["SCHEDULE", "WORKFLOW", "WHEN", "NEXT HERE"])


def _rule(schedule: Declared) -> str:
    zone = f" {schedule.when.timezone}" if schedule.when.cron is not None else ""
    return rule(schedule.when) + zone


def _told(slot: datetime) -> str:
    return f"{local(slot):%Y-%m-%d %H:%M}"


def _parameters(entry: Entry) -> str:
    """Return the names of what it takes; what may be left out has a question mark."""
    required = set(entry.parameters.get("required", ()))
    names = entry.parameters.get("properties", {})
    return ",".join(name if name in required else f"{name}?" for name in names)
