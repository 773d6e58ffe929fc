"""Own how a line of a run's story is shown: complete as JSON and TSV, and for people in words, cut to the screen."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from aiki_cli.view.documents.runs import History
from aiki_cli.view.found import Line, Rows
from aiki_cli.view.moments import local, span
from aiki_cli.view.runs import state_text
from aiki_cli.view.text import lines, shortened, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aiki.client.children import ChildNote
    from aiki.client.history import HistoryEntry

TSV_COLUMNS: Final = "at move state key ok reason actor value started_at worker arguments"
_MOVES: Final = {
    "started": "child",
    "found": "child found",
    "refused": "no child",
    "cancelled": "child told",
    "ended": "child ended",
}
_CHILDREN: Final = 3
_ARGUMENT_CHARS: Final = 40
"""So that what it came to has room beside it: `-o json` has all of them."""
_VALUE_CHARS: Final = 1_000
"""More than a screen is wide: what is beyond would only be cut."""


def line(entry: HistoryEntry) -> Line:
    """Return the line as one of a script's; its cells are TSV_COLUMNS."""
    return Line(entry, [getattr(entry, name) for name in TSV_COLUMNS.split()])


def rows(run_id: str, entries: Sequence[HistoryEntry], *, why: str | None = None) -> Rows:
    """Return a whole story, and of a run that has not ended `why` it does not move now."""
    return Rows(
        map(line, entries),
        page=lambda: [table(entries), *([f"now it {lines(why)}"] if why else [])],
        document=lambda _: History(run_id, entries, why),
    )


def table(entries: Sequence[HistoryEntry]) -> RenderableType:
    """Return a story for people, one line each, however narrow the screen is."""
    from aiki_cli.view.drawing import columns

    holder: str | None = None
    lines: list[list[str]] = []
    for entry in entries:
        holder = entry.actor if entry.move == "claim" else holder
        lines.append(_words(entry, holder))
    return columns(lines, ["AT", "TOOK", "MOVE", "STATE", "WHAT"], last_is_cut=True)


def _words(entry: HistoryEntry, holder: str | None) -> list[str]:
    """Return the line's cells; whose it is, is said where the last claim does not."""
    moment = f"{local(entry.at):%H:%M:%S.%f}"[:-3]
    took = "" if entry.took is None else span(entry.took)
    other = "" if entry.worker in (None, holder) else f"  on {entry.worker}"
    return [moment, took, _move(entry), state_text(entry.state) if entry.state else "", _what(entry) + other]


def _move(entry: HistoryEntry) -> str:
    if entry.move == "attempt" and entry.attempt is not None:
        return f"attempt {entry.attempt}"
    if entry.move == "event":
        return "unread event"
    if entry.move != "entry":
        return entry.move
    if entry.event is not None:
        return "event" if entry.ok else "no event"
    if entry.labels is not None:
        return "labels"
    if entry.retry is not None:
        return "retry"
    if entry.children:
        return _MOVES[entry.children[0].what]
    if entry.task is None:
        return "entry" if entry.timer is None else "timer"
    return "task" if entry.ok else "task failed"


def _what(entry: HistoryEntry) -> str:
    """Return what the line is about: the task or event with its outcome, the timer with its length, else its reason."""
    if entry.timer is not None:
        length = entry.timer
        return span(length) if isinstance(length, timedelta) else f"until {local(length):%Y-%m-%d %H:%M:%S}"
    if entry.children:
        return _children(entry)
    if entry.retry is not None:
        attempt, first = entry.retry
        return f"attempt {attempt:,} begins" + (f" with {first}" if first else "")
    if entry.labels is not None:
        return ", ".join(f"{name}={now}" if now is not None else f"no {name}" for name, now in entry.labels.items())
    name, actor = _called(entry), f"by {entry.actor}" if entry.actor else None
    parts = [name, _outcome(entry) if entry.event is None else _carried(entry), entry.reason, actor]
    if entry.move == "continue":
        parts.append(f"generation {entry.generation + 1:,} begins")
    if entry.move == "attempt" and entry.due_at is not None:
        parts.append(f"(again after {span(entry.due_at - entry.at)})")
    return "  ".join(part for part in parts if part)


def _called(entry: HistoryEntry) -> str | None:
    """Return what was called, as it was."""
    name = entry.task or entry.event or entry.key
    return name if entry.arguments is None else f"{name}{_arguments(entry.arguments)}"


def _arguments(arguments: Any) -> str:
    """Return arguments as they stand in a call; of what is not named all."""
    if not isinstance(arguments, dict):
        return f"({shortened(arguments if isinstance(arguments, str) else to_json(arguments), _ARGUMENT_CHARS)})"
    return f"({shortened(', '.join(f'{name}={to_json(value)}' for name, value in arguments.items()), _ARGUMENT_CHARS)})"


def _children(entry: HistoryEntry) -> str:
    """Return whom a line tells of: the first few by name and id, of many only how many; and how they have ended."""
    told = [_child(child) for child in entry.children[:_CHILDREN]]
    if entry.arguments is not None:
        told[-1] += f" {_arguments(entry.arguments)}" if len(entry.children) == 1 else ""
    left = len(entry.children) - len(told)
    return ", ".join([*told, f"and {left:,} more"] if left else told)


def _child(child: ChildNote) -> str:
    named = " ".join(part for part in (child.workflow, child.run_id) if part)
    if child.state is None:
        return named
    return f"{named}  {state_text(child.state)}" if named else f"{child.count:,} {child.state}"


def _outcome(entry: HistoryEntry) -> str | None:
    value = entry.value
    if value is None:
        return None
    if entry.ok:
        return "→ " + shortened(to_json(value), _VALUE_CHARS)
    if isinstance(value, dict) and {"type", "message"} <= value.keys():
        return "✗ " + shortened(f"{value['type']}: {value['message']}", _VALUE_CHARS)
    return "✗ " + shortened(to_json(value), _VALUE_CHARS)


def _carried(entry: HistoryEntry) -> str | None:
    """Return what an event carries, or all those together that were waited for."""
    if entry.move == "entry" and not entry.ok:
        return None
    come = [entry.value]
    if entry.move == "entry" and isinstance(entry.value, list):
        come = [one[-1] if isinstance(one, list) and one else one for one in entry.value]
    told = [shortened(to_json(value), _VALUE_CHARS) for value in come if value is not None]
    return f"→ {', '.join(told)}" if told else None
