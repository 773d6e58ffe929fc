"""Own which classes the JSON of each command is made of, and the schemas that follow from them.

`schemas.json` beside this file is what `aiki help json` shows (`view.shown_schemas`). A test compares it with what
follows from the classes now: whoever changes one decides that programs see the change.
`python -m aiki_cli.view.schemas` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiki import RunStatus, SlotInfo, Why
from aiki.client.applying import Change, Plan
from aiki.client.counts import NamespaceSummary, RouteCount
from aiki.client.deleting import DeletedRun
from aiki.client.history import HistoryEntry
from aiki.client.importing import ImportOutcome
from aiki.client.matching import RunCount
from aiki.client.storage import StorageUse, TableSize, WorkflowSize
from aiki.client.workers import WorkerInfo
from aiki_cli.view.documents import (
    checked,
    config,
    enqueued,
    errors,
    files,
    outputs,
    replayed,
    runs,
    schedules,
    workers,
    workflows,
)
from aiki_cli.view.json_schema import Schema, schema_of


@dataclass(frozen=True)
class Output:
    """What a command says as JSON."""

    documents: Sequence[Any]
    """With -o json: one document, of one of these classes."""
    lines: Sequence[Any]
    """With -o jsonl: each line."""


_OBEYED: Final = Output([RunStatus, runs.Runs, runs.BulkOutcomes], [RunStatus, runs.RefusedRun, runs.BulkOutcome])
"""Of runs that are named, and of those that a filter finds."""
_WAITED: Final = Output([runs.RunOutcome, runs.RunOutcomes], [runs.RunOutcome])
_SCHEDULE: Final = Output([schedules.ShownSchedule], [schedules.ShownSchedule])
_SCHEDULES_OBEYED: Final = Output([schedules.ScheduleOutcome, schedules.ScheduleOutcomes], [schedules.ScheduleOutcome])
_VERSIONS: Final = Output([workflows.WorkflowVersions], [workflows.WorkflowVersion])

OUTPUTS: Final[Mapping[str, Output]] = {
    "enqueue": Output(
        [enqueued.Enqueued, runs.RunOutcome, enqueued.EnqueuedRows, enqueued.RowOutcomes],
        [enqueued.Enqueued, runs.RunOutcome, enqueued.EnqueuedRow, enqueued.RefusedRow, enqueued.RowOutcome],
    ),
    "status": Output(
        [RunStatus, runs.Runs, NamespaceSummary, StorageUse], [RunStatus, RouteCount, TableSize, WorkflowSize]
    ),
    "wait": _WAITED,
    "why": Output([Why], [runs.RunReason]),
    "run list": Output([runs.RunList, RunCount], [RunStatus, RunCount]),
    "run show": Output([runs.ShownRun, runs.RunFamily], [runs.ShownRun, RunStatus]),
    "run history": Output([runs.History], [HistoryEntry]),
    "run cancel": _OBEYED,
    "run pause": _OBEYED,
    "run resume": _OBEYED,
    "run wake": _OBEYED,
    "run retry": _OBEYED,
    "run move": _OBEYED,
    "run delete": Output(
        [DeletedRun, runs.UndeletedRun, runs.DeletedRuns],
        [DeletedRun, runs.UndeletedRun],
    ),
    "run export": Output([files.ExportFile], [files.ExportedRun]),
    "run import": Output([runs.ImportedRuns], [ImportOutcome]),
    "event send": Output([runs.EventOutcome, runs.EventOutcomes], [runs.EventOutcome]),
    "schedule create": _SCHEDULE,
    "schedule update": _SCHEDULE,
    "schedule list": Output([schedules.Schedules], [schedules.ShownSchedule]),
    "schedule show": Output([schedules.WholeSchedule], [schedules.WholeSchedule]),
    "schedule next": Output([schedules.Firings], [schedules.Firing]),
    "schedule pause": _SCHEDULES_OBEYED,
    "schedule resume": _SCHEDULES_OBEYED,
    "schedule delete": _SCHEDULES_OBEYED,
    "schedule trigger": Output([schedules.Triggered, runs.RunOutcome], [schedules.Triggered, runs.RunOutcome]),
    "schedule backfill": Output([schedules.Slots], [SlotInfo]),
    "worker list": Output([workers.Workers], [WorkerInfo]),
    "workflow list": _VERSIONS,
    "workflow show": _VERSIONS,
    "config show": Output([config.Config], [config.ConfigValue]),
    "config profiles": Output([config.ConfigProfiles], [config.ConfigProfile]),
    "check": Output(
        [checked.CheckedManifest],
        [checked.WorkflowLine, checked.ScheduleLine, checked.WarningLine, checked.ProblemLine],
    ),
    "apply": Output([Plan], [Change]),
    "replay": Output([replayed.ReplayedRuns], [replayed.RunVerdict]),
    "help": Output([outputs.Outputs], [outputs.OutputNames]),
    "error": Output([errors.CommandError], [errors.CommandError]),
}
"""By the words that are typed after `aiki`; `error` is what any of them says on stderr."""

FILE: Final = Path(__file__).with_name("schemas.json")


def schemas() -> dict[str, dict[str, Schema]]:
    """Return of each output the schema of its document (`json`) and that of a line (`jsonl`)."""
    return {
        name: {
            mode: schema_of(shapes, title=f"{'aiki ' if name != 'error' else ''}{name} -o {mode}")
            for mode, shapes in (("json", output.documents), ("jsonl", output.lines))
        }
        for name, output in OUTPUTS.items()
    }


def text() -> str:
    """Return all schemas as they stand in the file: each class once, since it says the same everywhere."""
    every = schemas()
    defs = {name: one for modes in every.values() for schema in modes.values() for name, one in schema["$defs"].items()}
    promised = {
        name: {mode: {key: part for key, part in schema.items() if key != "$defs"} for mode, schema in modes.items()}
        for name, modes in every.items()
    }
    return json.dumps({"outputs": promised, "$defs": dict(sorted(defs.items()))}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
