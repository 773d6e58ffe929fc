"""Own the words for a body that no longer asks for what its journal holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiki.core.keys import kind_of, said_in, task_of
from aiki.execution.journal import Journal
from aiki.execution.order import HASH_SEED_VARIES

if TYPE_CHECKING:
    from aiki.execution.calls import Call
    from aiki.wire.messages import Entry

SHOWN: Final = 10
"""Lines of each side; a person needs the first ones."""
_INPUT_CHARS: Final = 120


def explain(what: str, journal: Journal, asked: Iterable[Call], waiting: list[str]) -> str:
    """Return what a person needs: what stood in the journal, what the code asks for, and what to do."""
    recorded = list(journal.unconsumed())
    new = [call for call in asked if call.key not in journal]
    lines = [f"the code no longer fits the journal: {what}"]
    lines += ["recorded, but not asked for:", *_cut([f"  - {_recorded(index, entry)}" for index, entry in recorded])]
    lines += ["asked for, but not recorded:", *_cut([f"  + {_asked(call)}" for call in new] or ["  (nothing)"])]
    if waiting:
        lines += ["the body stands at:", *_cut([f"    {line}" for line in waiting])]
    lines.append(_advice([entry for _, entry in recorded], new))
    if HASH_SEED_VARIES:
        lines.append(
            "or nothing has changed, and the body walks through a set of text: this worker's PYTHONHASHSEED is not 0,"
            " so it does that in an order of its own. Start all workers with PYTHONHASHSEED=0, then resume the run"
        )
    return "\n".join(lines)


def _recorded(index: int, entry: Entry) -> str:
    number = f"entry {index + 1}"
    match kind_of(entry.key), said_in(entry.key):
        case "timer", seconds:
            return f"{number}: a timer of {seconds} s"
        case "until", moment:
            return f"{number}: a timer until {moment} µs"
        case "patch", change_id:
            return f"{number}: patched({change_id!r})"
    value = bytes(entry.value).decode(errors="replace")
    return f"{number}: task {task_of(entry.key)} [{entry.key}] {'returned' if entry.ok else 'failed:'} {_short(value)}"


def _asked(call: Call) -> str:
    return f"task {call.task.name} [{call.key}] with {_short(call.form.decode(errors='replace'))}"


def _advice(recorded: list[Entry], new: list[Call]) -> str:
    names = {task_of(entry.key) for entry in recorded}
    changed = sorted({call.task.name for call in new if call.task.name in names})
    if changed:
        return (
            f"probably the input of {', '.join(changed)} has changed: keep the old one for runs in flight with"
            " `if run.patched(...)`, then resume the run"
        )
    return (
        "a recorded call was removed, or another one was put in front of it: restore it, or guard the change with"
        " `if run.patched(...)`, then resume the run"
    )


def _short(text: str) -> str:
    return text if len(text) <= _INPUT_CHARS else text[:_INPUT_CHARS] + "…"


def _cut(lines: list[str]) -> list[str]:
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:SHOWN], f"    … and {len(lines) - SHOWN} more"]
