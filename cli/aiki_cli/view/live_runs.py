"""Own how several runs are drawn while they are watched: a total, and a line each, as many as fit. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from aiki import RunStatus, State
from aiki_cli.view.clock import elapsed
from aiki_cli.view.runs import SIGNS, name_on, state_text
from aiki_cli.view.telling import note
from aiki_cli.view.text import one_line

_FIRST: Final = (
    State.BLOCKED,
    State.PAUSED,
    State.FAILED,
    State.RUNNING,
    State.RETRYING,
    State.WAITING,
    State.SLEEPING,
    State.QUEUED,
    State.SCHEDULED,
    State.CANCELLED,
    State.COMPLETED,
)
"""What a person wants to see first."""
_RANK: Final = {state: rank for rank, state in enumerate(_FIRST)}
_BETWEEN: Final = "  "
_STATE_CELLS: Final = 11
_NAME_CELLS: Final = 32
_TOOK_CELLS: Final = 8


def frame(runs: Collection[RunStatus], now: datetime, *, asked: int, width: int, height: int) -> list[Text]:
    """Return at most `height` lines of `asked` runs, of which some may not be known yet."""
    total = totals(runs, now, asked=asked, width=width)
    room = max(height - len(total), 0)
    ranked = sorted(runs, key=_rank)
    if len(ranked) > room:
        room = max(room - 1, 0)
    shown, hidden = ranked[:room], ranked[room:]
    lines = [*total, *_lines(shown, now, width=width)]
    if hidden:
        counts = ", ".join(f"{count:,} {state}" for state, count in _counted(hidden))
        lines.append(Text(f"  … {len(hidden):,} more: {counts}", style="dim"))
    return lines[:height]


def totals(runs: Collection[RunStatus], now: datetime, *, asked: int, width: int) -> list[Text]:
    """Return how many of the runs are in which state, in as many lines as it takes."""
    begun = min((run.started_at or run.created_at for run in runs), default=now)
    last = max((run.finished_at for run in runs if run.finished_at is not None), default=now)
    over = len(runs) == asked and all(run.ended for run in runs)
    parts = [Text(f"{asked:,} runs  {elapsed(begun, last if over else None, now)}", style="bold")]
    for state, count in _counted(runs):
        sign, style = SIGNS[state]
        parts.append(Text(f"{sign} {count:,} {state}", style=style))
    if unknown := asked - len(runs):
        parts.append(Text(f"{unknown:,} not heard of", style="dim"))
    lines = [Text()]
    for part in parts:
        if not lines[-1]:
            lines[-1].append_text(part)
        elif lines[-1].cell_len + part.cell_len + len(_BETWEEN) <= width:
            lines[-1].append(_BETWEEN).append_text(part)
        else:
            lines.append(Text(_BETWEEN).append_text(part))
    return lines


def _lines(runs: Sequence[RunStatus], now: datetime, *, width: int) -> list[Text]:
    names = [one_line(f"{run.workflow} {run.version}") for run in runs]
    cells = min(max(map(cell_len, names), default=0), max(12, min(_NAME_CELLS, width // 4)))
    return [_line(run, name, now, width=width, cells=cells) for run, name in zip(runs, names, strict=True)]


def _line(run: RunStatus, name: str, now: datetime, *, width: int, cells: int) -> Text:
    shown = set_cell_size(name, cells) if cell_len(name) <= cells else set_cell_size(name, cells - 1) + "…"
    took = elapsed(run.started_at or run.created_at, run.finished_at, now)
    line = Text("  ")
    line.append(state_text(run.state).ljust(_STATE_CELLS), style=SIGNS.get(run.state, ("", ""))[1])
    line.append(f"  {one_line(name_on(width, run.run_id))}  {shown} ")
    line.append(f"{took:>{_TOOK_CELLS}}  ", style="dim")
    said = "" if run.state == State.COMPLETED else note(run, now)
    line.append(said, style="red" if run.state in {State.BLOCKED, State.FAILED} else "")
    line.rstrip()
    return line


def _rank(run: RunStatus) -> tuple[int, float]:
    moved = run.finished_at or run.started_at or run.created_at
    return _RANK[run.state], -moved.timestamp()


def _counted(runs: Collection[RunStatus]) -> list[tuple[State, int]]:
    counts = Counter(run.state for run in runs)
    return [(state, counts[state]) for state in _FIRST if counts[state]]
