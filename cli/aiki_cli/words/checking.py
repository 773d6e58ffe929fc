"""Own what a check of the manifest and of the user's modules finds, where there is no server to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiki import AikiError, When
from aiki.client.when import from_spec, next_firings
from aiki.core.near import nearest
from aiki.definitions.bodies import readings
from aiki.definitions.catalogue import Entry, entry_of, place_of
from aiki_cli.words.declared import call_of

if TYPE_CHECKING:
    from aiki import Workflow
    from aiki.definitions.registry import Registry
    from aiki.manifest import Manifest
    from aiki.manifest.schedules import Declared

FIRINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Where:
    """What an editor goes to."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """What would be refused."""

    where: Where
    error: AikiError


@dataclass(frozen=True, slots=True)
class Warned:
    """What works, and may not be meant so."""

    where: Where
    what: str
    instead: str | None = None
    """What to do."""


@dataclass(frozen=True, slots=True)
class CheckedSchedule:
    """A schedule of the manifest, with when it fires next."""

    where: Where
    name: str
    workflow: str
    version: str | None
    when: When
    next: Sequence[datetime]


@dataclass(frozen=True, slots=True)
class Checked:
    """All that was found."""

    file: Path | None
    """The manifest."""
    project: str | None
    workflows: Sequence[Entry]
    schedules: Sequence[CheckedSchedule]
    warnings: Sequence[Warned]
    problems: Sequence[Problem]


def check(manifest: Manifest | None, registry: Registry, *, is_whole: bool) -> Checked:
    """Return what is found of the manifest, whose format was checked when it was read, and of the workflows.

    `is_whole` tells that these are all that the manifest's modules hold.
    """
    warnings = [one for workflow in registry for one in _of_body(workflow)]
    entries, schedules, problems = [], [], []
    for workflow in registry:
        try:
            entries.append(entry_of(workflow))
        except AikiError as error:
            problems.append(Problem(Where(*place_of(workflow)), error))
    for name, declared in (manifest.schedules if manifest else {}).items():
        schedules.append(made := _schedule(name, declared))
        warnings += _of_schedule(made, registry)
        try:
            call_of(name, declared, registry)
        except AikiError as error:
            problems.append(Problem(made.where, error))
    if manifest and manifest.modules and is_whole:
        warnings += _of_settings(manifest, registry)
    file, project = (manifest.file, manifest.project) if manifest else (None, None)
    return Checked(file, project, entries, schedules, warnings, problems)


def _schedule(name: str, declared: Declared) -> CheckedSchedule:
    where, when = Where(str(declared.place.file), declared.place.line), from_spec(declared.spec)
    words = dict(zip((field.name for field in fields(when)), astuple(when), strict=True))
    return CheckedSchedule(where, name, declared.workflow, declared.version, when, next_firings(FIRINGS, **words))


def _of_body(workflow: Workflow[..., Any]) -> list[Warned]:
    return [Warned(Where(one.file, one.line), one.told_of(workflow.name), one.instead) for one in readings(workflow.fn)]


def _of_settings(manifest: Manifest, registry: Registry) -> list[Warned]:
    names = {workflow.name for workflow in registry}
    unknown = ((name, nearest(name, names)) for name in manifest.workflows if name not in names)
    what = "no module of the manifest holds workflow {!r}, for which it has settings{}"
    return [Warned(Where(str(manifest.file)), what.format(name, _asked(meant)), meant) for name, meant in unknown]


def _of_schedule(schedule: CheckedSchedule, registry: Registry) -> list[Warned]:
    found = []
    if not schedule.next:
        found.append(Warned(schedule.where, f"schedule {schedule.name!r} fires no more"))
    names = {workflow.name for workflow in registry}
    versions = {workflow.version for workflow in registry if workflow.name == schedule.workflow}
    if not versions or (schedule.version or next(iter(versions))) not in versions:
        route = f"{schedule.workflow!r}" + (f" {schedule.version}" if schedule.version else "")
        meant = nearest(schedule.workflow, names) if not versions else None
        what = f"schedule {schedule.name!r}: no module here holds workflow {route}, so its payload is not checked"
        found.append(Warned(schedule.where, what + _asked(meant), meant and f"workflow: {meant}"))
    return found


def _asked(meant: str | None) -> str:
    return f" (did you mean {meant!r}?)" if meant else ""
