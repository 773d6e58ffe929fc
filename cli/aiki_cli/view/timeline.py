"""Own how the durable calls of a run are shown: a line each, in the order in which they began, as many as fit. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from aiki.definitions.view import CallState, CallView, RunView
from aiki_cli.view.clock import countdown, elapsed
from aiki_cli.view.telling import name
from aiki_cli.view.text import one_line

SIGNS: Final = {
    CallState.RUNNING: ("●", "cyan"),
    CallState.RETRYING: ("↻", "yellow"),
    CallState.WAITING: ("…", "blue"),
    CallState.DONE: ("✓", "green"),
    CallState.FAILED: ("✗", "red"),
}
OVER: Final = {CallState.DONE, CallState.FAILED}
_RANK: Final = {
    CallState.RETRYING: 0,
    CallState.RUNNING: 1,
    CallState.WAITING: 1,
    CallState.FAILED: 2,
    CallState.DONE: 2,
}
"""What has to be seen first, where not all can be."""
_STATE_CELLS: Final = 10
_TOOK_CELLS: Final = 8
_NAME_CELLS: Final = 32
_BAR_CELLS: Final = 12
_CHART_CELLS: Final = 24
_WIDE: Final = 100
"""Columns of a screen from which on there is room for a chart of when each call ran."""


def lines(view: RunView, now: datetime, *, width: int, room: int) -> list[Text]:
    """Return at most `room` lines: what goes on and what is newest, and before it how many calls are left out."""
    calls = _chosen(view.calls, room)
    left_out = _left_out(view, calls)
    if left_out and len(calls) == room:
        calls = _chosen(view.calls, room - 1)
        left_out = _left_out(view, calls)
    if room < 1:
        return []
    names = [name(call) for call in calls]
    cells = min(max(map(cell_len, names), default=0), max(12, min(_NAME_CELLS, width // 3)))
    begun = view.status.started_at or view.status.created_at
    drawn = [
        _line(call, set_cell_size(_cut(label, cells), cells), now, width=width, begun=begun)
        for call, label in zip(calls, names, strict=True)
    ]
    return [Text(f"  … {left_out}", style="dim"), *drawn] if left_out else drawn


def _chosen(calls: Sequence[CallView], room: int) -> list[CallView]:
    """Return at most `room` calls in their order: what is tried again, then what goes on, then what is over.

    Of each the newest.
    """
    ranked = sorted(range(len(calls)), key=lambda index: (_RANK[calls[index].state], -index))
    return [calls[index] for index in sorted(ranked[: max(room, 0)])]


def _left_out(view: RunView, shown: Sequence[CallView]) -> str:
    """Return how many calls are not shown, by what has become of them; "" if all are."""
    states = [call.state for call in shown]
    failed = view.failed - states.count(CallState.FAILED)
    done = view.done - view.failed - states.count(CallState.DONE)
    counts = {"done": done, "failed": failed}
    for state in (CallState.RUNNING, CallState.RETRYING, CallState.WAITING):
        counts[state] = sum(call.state is state for call in view.calls) - states.count(state)
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count > 0)


def _line(call: CallView, label: str, now: datetime, *, width: int, begun: datetime) -> Text:
    sign, style = SIGNS[call.state]
    line = Text("  ")
    line.append(f"{sign} {call.state}".ljust(_STATE_CELLS), style=style)
    line.append(f" {label} ")
    line.append(f"{_took(call, now):>{_TOOK_CELLS}}  ", style="dim")
    if width >= _WIDE:
        line.append(_chart(call, now, begun), style=style)
        line.append("  ")
    line.append_text(_note(call, now))
    line.rstrip()
    return line


def _note(call: CallView, now: datetime) -> Text:
    """Return what is to be known beside its state: the try, how far it is, when it goes on, what it raised."""
    note = Text()
    if call.attempt > 1 or call.state is CallState.RETRYING:
        note.append(f"attempt {call.attempt}  ")
    if call.state is CallState.RETRYING and call.next_at is not None:
        note.append(f"again {countdown(call.next_at, now)}  ", style="bold")
    elif call.state is CallState.WAITING and call.next_at is not None:
        note.append(f"{countdown(call.next_at, now)}  ", style="bold")
    if call.fraction is not None and call.state not in OVER:
        note.append(f"{call.fraction:4.0%} ").append_text(bar(call.fraction)).append(f" {one_line(call.message)}  ")
    if call.error:
        note.append(one_line(call.error), style="red" if call.state is CallState.FAILED else "yellow")
    if call.run_id is not None:
        note.append(one_line(call.run_id), style="dim")
    return note


def bar(fraction: float, *, cells: int = _BAR_CELLS) -> Text:
    """Return a bar that is full so far; its two parts differ not by colour alone."""
    full = round(min(max(fraction, 0.0), 1.0) * cells)
    return Text.assemble(("━" * full, "cyan"), ("┄" * (cells - full), "dim"))


def _chart(call: CallView, now: datetime, begun: datetime) -> str:
    """Return when the call ran, as a part of the time since the run began."""
    whole = max((now - begun).total_seconds(), 0.001)
    if call.started_at is None:
        return " " * _CHART_CELLS
    first = _place(call.started_at, begun, whole)
    last = max(_place(call.ended_at or now, begun, whole), first)
    mark = "·" if call.state in {CallState.WAITING, CallState.RETRYING} else "━"
    return (" " * first + mark * (last - first + 1)).ljust(_CHART_CELLS)


def _place(moment: datetime, begun: datetime, whole: float) -> int:
    part = (moment - begun).total_seconds() / whole
    return min(max(int(part * _CHART_CELLS), 0), _CHART_CELLS - 1)


def _took(call: CallView, now: datetime) -> str:
    if call.started_at is None:
        return ""
    return elapsed(call.started_at, call.ended_at, now)


def _cut(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else set_cell_size(text, max(cells - 1, 0)) + "…"
