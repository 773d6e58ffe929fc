"""Own the names of the columns that the rows of each command have, in TSV and for `--columns`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiki import UsageError
from aiki_cli.view import config, firings, runs, schedules, slots, story, workers, workflows
from aiki_cli.view.choice import Choice
from aiki_cli.view.output import Mode

_OUTCOMES: Final = "name result why"
ORDERS: Final = tuple(f"run {order}" for order in ("pause", "resume", "cancel", "wake", "retry", "move"))
"""Of runs that are named there are other rows than of those that a filter finds."""
COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "enqueue": ("line key id outcome result",),
    "status": (
        runs.TSV_COLUMNS,
        "workflow version state runs",
        "kind name rows bytes index_bytes ended free_runs free_bytes",
    ),
    "wait": ("id outcome result",),
    "why": ("run_id kind sentence",),
    "run list": (runs.TSV_COLUMNS,),
    "run show": (runs.TSV_COLUMNS,),
    "run history": (story.TSV_COLUMNS,),
    **dict.fromkeys(ORDERS, (runs.TSV_COLUMNS, "id outcome why")),
    "run delete": ("id runs why",),
    "run export": ("id state workflow version entries",),
    "run import": ("id result why",),
    "event send": ("id outcome why",),
    "schedule list": (schedules.TSV_COLUMNS,),
    "schedule show": (schedules.TSV_COLUMNS,),
    "schedule next": (firings.TSV_COLUMNS,),
    "schedule backfill": (slots.TSV_COLUMNS,),
    **{f"schedule {order}": (_OUTCOMES,) for order in ("pause", "resume", "delete")},
    "worker list": (workers.TSV_COLUMNS,),
    "workflow list": (workflows.TSV_COLUMNS,),
    "workflow show": (workflows.TSV_COLUMNS,),
    "config show": ("name value", "name value origin"),
    "config profiles": (config.PROFILE_COLUMNS,),
    "apply": ("name change fields reason",),
    "help": ("command document line",),
    "replay": ("id workflow version as_version state verdict entry at why",),
}


def kinds(command: str) -> Sequence[Sequence[str]]:
    """Return the names of the cells of each kind of row that a command shows."""
    return [kind.split() for kind in COLUMNS.get(command, ())]


def choose(command: str, typed: str, mode: Mode) -> Choice:
    """Return the columns that were typed. Raises UsageError for what the command's rows do not have."""
    if mode not in {Mode.TABLE, Mode.TSV}:
        what = "objects, which have all members" if mode.is_json else "ids alone"
        raise UsageError(f"--columns is for tables and TSV: -o {mode} shows {what}", hint="-o tsv")
    return Choice.of(command, kinds(command), typed, may_lack=command in ORDERS)
