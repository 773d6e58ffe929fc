"""Own how one run is drawn while it is watched, and how it stays on the screen at the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from aiki import RunStatus, State
from aiki.definitions.view import CallState, RunView
from aiki_cli.view import timeline
from aiki_cli.view.clock import countdown, elapsed, ticking
from aiki_cli.view.runs import SIGNS, name_on, state_text
from aiki_cli.view.text import lines as escaped
from aiki_cli.view.text import one_line, to_json

_WHY_LINES: Final = 3
_LEAST_NAME: Final = 12
_INDENT: Final = "  "
_GOING: Final = (CallState.RUNNING, CallState.RETRYING, CallState.WAITING)
_BAD: Final = {"failed", "blocked"}


def frame(view: RunView, now: datetime, *, width: int, height: int) -> list[Text]:
    """Return at most `height` lines: the run, why it does not move, what it comes to, and its calls."""
    run = view.status
    head = [heading(run, now, width=width), *_why(run, now, width=width)]
    head += [said for said in (_counts(view), _children(view), _details(run)) if said is not None]
    if not view.calls:
        return head[:height]
    room = height - len(head) - 1
    if room < 1:
        return head[:height]
    return [*head, Text(), *timeline.lines(view, now, width=width, room=room)]


def rest(view: RunView, now: datetime, *, width: int) -> list[Text]:
    """Return what stays on the screen of a run that is watched no longer."""
    run = view.status
    said = [heading(run, now, width=width)]
    if counts := _counts(view):
        said.append(counts)
    if children := _children(view):
        said.append(children)
    if not run.ended:
        said += _why(run, now, width=width)
    return said


def heading(run: RunStatus, now: datetime, *, width: int) -> Text:
    """Return the first line: state, workflow and version, how long it has taken, its id; the name alone gives way."""
    state, style = state_text(run.state), SIGNS.get(run.state, ("", ""))[1]
    begun = run.started_at or run.created_at
    took = elapsed(begun, run.finished_at, now)
    rest = one_line(f"  {took}  {name_on(width, run.run_id)}")
    room = max(width - cell_len(state) - cell_len(rest) - len(_INDENT), _LEAST_NAME)
    name = one_line(f"{run.workflow} {run.version}")
    shown = name if cell_len(name) <= room else set_cell_size(name, room - 1) + "…"
    line = Text.assemble((state, f"bold {style}".strip()), _INDENT, (shown, "bold"), rest)
    if run.retry_of is not None:
        line.append(one_line(f"  retry of {run.retry_of}"), style="dim")
    return line


def _why(run: RunStatus, now: datetime, *, width: int) -> list[Text]:
    """Return why a run does not move, or what it came to, in a few lines."""
    if run.ended:
        said = f"{run.error.type}: {run.error.message}" if run.error is not None else run.why or ""
        style = "red" if run.error is not None else ""
    else:
        said = f"It {ticking(run.why, now)}" if run.why else _due(run, now)
        style = "red" if run.state == State.BLOCKED else ""
    return _wrapped(said, style=style, width=width)


def _wrapped(said: str, *, style: str, width: int) -> list[Text]:
    if not said:
        return []
    room = max(width - len(_INDENT), 1)
    words = one_line(escaped(said).replace("\n", " ")[: (room + 1) * _WHY_LINES * 2])
    lines: list[str] = [""]
    for word in words.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= room:
            lines[-1] = longer
        elif cell_len(word) <= room:
            lines.append(word)
        else:  # it is cut where the line ends
            lines[-1:] = _folded(longer, room)
    shown = lines[:_WHY_LINES]
    if len(lines) > _WHY_LINES:
        shown[-1] = f"{set_cell_size(shown[-1], min(cell_len(shown[-1]), room - 1))}…"
    return [Text(_INDENT + line, style=style) for line in shown]


def _folded(text: str, room: int) -> list[str]:
    """Return a text in pieces of `room` cells."""
    pieces = []
    while cell_len(text) > room:
        head = set_cell_size(text, room).rstrip(" ") if room > 1 else text[:1]
        taken = len(head) if text.startswith(head) else len(head) - 1
        pieces.append(text[: max(taken, 1)])
        text = text[max(taken, 1) :]
    return [*pieces, text]


def _due(run: RunStatus, now: datetime) -> str:
    if run.due_at is None:
        return ""
    return f"{'It is tried again' if run.state == State.RUNNING else 'It goes on'} {countdown(run.due_at, now)}"


def _counts(view: RunView) -> Text | None:
    """Return how many calls are done, and how many go on."""
    going = {str(state): sum(call.state is state for call in view.calls) for state in _GOING}
    counts: Mapping[str, int] = {"done": view.done - view.failed, "failed": view.failed, **going}
    return _tally("calls", counts)


def _children(view: RunView) -> Text | None:
    counts = {str(state): count for state, count in view.children.items()}
    return _tally("children", counts)


def _tally(what: str, counts: Mapping[str, int]) -> Text | None:
    said = [(f"{count:,} {name}", "red" if name in _BAD else "") for name, count in counts.items() if count > 0]
    if not said:
        return None
    line = Text(f"{_INDENT}{what:<9}")
    for index, part in enumerate(said):
        line.append(", " if index else "")
        line.append(part[0], style=part[1])
    return line


def _details(run: RunStatus) -> Text | None:
    return None if run.details is None else Text(f"{_INDENT}{'details':<9}{to_json(run.details)}")
