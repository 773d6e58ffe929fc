"""Own the words for a body that no longer asks for what its journal holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from aiki.core.keys import kind_of, name_of
from aiki.execution.kinds import KINDS, UNASKED
from aiki.execution.order import HASH_SEED_VARIES

if TYPE_CHECKING:
    from aiki.execution.journal import Journal
    from aiki.execution.kind import DurableCall
    from aiki.wire.messages import Entry

SHOWN: Final = 10
"""Lines of each side; a person needs the first ones."""


def explain(
    what: str,
    journal: Journal,
    asked: Iterable[DurableCall[Any]],
    waiting: list[str],
    *,
    hash_seed_varies: bool = HASH_SEED_VARIES,
) -> str:
    """Return what a person needs: what stood in the journal, what the code asks for, and what to do."""
    recorded = list(journal.unconsumed())
    new = [call for call in asked if call.key not in journal]
    lines = [f"the code no longer fits the journal: {what}"]
    lines += [
        "recorded, but not asked for:",
        *_cut([f"  - entry {index + 1}: {said(entry)}" for index, entry in recorded]),
    ]
    asked_for = [f"  + {call.kind.asked(call)}" for call in new]
    lines += ["asked for, but not recorded:", *_cut(asked_for or ["  (nothing)"])]
    if waiting:
        lines += ["the body stands at:", *_cut([f"    {line}" for line in waiting])]
    lines.append(_advice([entry for _, entry in recorded], new))
    if hash_seed_varies:
        lines.append(
            "or nothing has changed, and the body walks through a set of text: this worker's PYTHONHASHSEED is not 0,"
            " so it does that in an order of its own. Start all workers with PYTHONHASHSEED=0, then resume the run"
        )
    return "\n".join(lines)


def said(entry: Entry) -> str:
    """Return what a person is told of an entry: by its kind, or by its key if it is of none."""
    word = kind_of(entry.key)
    kind = KINDS.get(word) or UNASKED.get(word)
    return entry.key if kind is None else kind.recorded(entry)


def _advice(recorded: list[Entry], new: list[DurableCall[Any]]) -> str:
    known = {_called(entry.key) for entry in recorded}
    changed = sorted({name_of(call.key) for call in new if _called(call.key) in known})
    if changed:
        return (
            f"probably the input of {', '.join(changed)} has changed: keep the old one for runs in flight with"
            " `if run.patched(...)`, then resume the run"
        )
    return (
        "a recorded call was removed, or another one was put in front of it: restore it, or guard the change with"
        " `if run.patched(...)`, then resume the run"
    )


def _called(key: str) -> tuple[str, str]:
    return kind_of(key), name_of(key)


def _cut(lines: list[str]) -> list[str]:
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:SHOWN], f"    … and {len(lines) - SHOWN} more"]
