"""Own what is said of a workflow's version: `WorkflowInfo` with how it stands, in words and in one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from aiki import State
from aiki.client.workflows import WorkflowInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowVersion:
    """A version of a workflow. Counts go as far as they are counted; `capped` says that there are more."""

    workflow: str
    version: str
    standing: Literal["served", "unserved", "stranded", "drained"]
    in_flight: int
    capped: bool
    runs: Mapping[State, int]
    """Its runs in flight by state."""
    workers: int
    """Live workers that serve it."""
    worker_names: Sequence[str]
    """The first of these."""
    last_start: datetime | None
    code_since: datetime | None
    code_by: str | None
    """The worker that brought the code that it has now."""
    newest: bool
    registered: bool
    """Whether any worker has ever served it."""
    scheduled: bool
    retention: str
    """How long its runs are kept once they have ended: `30d`, `completed=30d,failed=keep`, or `keep`."""
    tasks: Sequence[str]
    parameters: Any
    """The JSON Schema of its payload."""
    events: Mapping[str, Any] | None
    """The JSON Schemas of the events that it takes; null if it takes any."""

    @classmethod
    def of(
        cls, info: WorkflowInfo, *, standing: Literal["served", "unserved", "stranded", "drained"]
    ) -> WorkflowVersion:
        """Return what is said of a version that stands so."""
        return cls(
            workflow=info.name,
            version=info.version,
            standing=standing,
            in_flight=info.in_flight.runs,
            capped=info.in_flight.capped,
            runs={state: count.runs for state, count in info.runs.items()},
            workers=info.workers,
            worker_names=info.worker_names,
            last_start=info.last_start,
            code_since=info.code_since,
            code_by=info.code_by,
            newest=info.is_newest,
            registered=info.is_registered,
            scheduled=info.has_schedule,
            retention=info.retention,
            tasks=info.tasks,
            parameters=info.parameters,
            events=info.events,
        )


@dataclass(frozen=True, slots=True)
class WorkflowVersions:
    """Versions of workflows, the newest of each first."""

    workflows: Sequence[WorkflowVersion]
