"""Own what is said of a manifest and its modules that were checked where there is no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedWorkflow:
    """A workflow that was found."""

    name: str
    version: str
    parameters: Mapping[str, Any]
    """The JSON Schema of its payload."""
    tasks: Sequence[str]
    events: Sequence[str] | None
    """Those that it takes; null if it takes any."""
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSchedule:
    """A schedule that is declared."""

    name: str
    workflow: str
    version: str | None
    when: str
    """The cron, the interval or the date, as it was said."""
    timezone: str
    next: Sequence[datetime]
    """When it fires next."""
    file: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWarning:
    """What works, and may not be meant so."""

    message: str
    hint: str | None
    file: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckProblem:
    """What would be refused."""

    code: str
    message: str
    hint: str | None
    file: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowLine(CheckedWorkflow):
    """A workflow, as a line of its own."""

    kind: Literal["workflow"] = "workflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLine(CheckedSchedule):
    """A schedule, as a line of its own."""

    kind: Literal["schedule"] = "schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningLine(CheckWarning):
    """A warning, as a line of its own."""

    kind: Literal["warning"] = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemLine(CheckProblem):
    """A problem, as a line of its own."""

    kind: Literal["problem"] = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedManifest:
    """All that a check has found."""

    is_ok: bool
    """Whether there are no problems."""
    manifest: str | None
    project: str | None
    workflows: Sequence[CheckedWorkflow]
    schedules: Sequence[CheckedSchedule]
    warnings: Sequence[CheckWarning]
    problems: Sequence[CheckProblem]
