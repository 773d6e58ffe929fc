"""Own what Rich draws: tables, coloured lines, and a bar that tells how far something has come.

Rich is imported only to draw. Text in a cell of a table is escaped here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aiki_cli.view.output import is_terminal
from aiki_cli.view.text import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_STEP: Final = 100
"""The bar moves by so many at a time: each move costs more than a row."""


def console(*, stderr: bool = False) -> Console:
    """Return a Rich console that honours NO_COLOR and TERM=dumb; off a screen it is wide, so that nothing is cut."""
    from rich.console import Console

    width = None if is_terminal(sys.stderr if stderr else sys.stdout) else 200
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        width=width,
        no_color=bool(os.environ.get("NO_COLOR")) or None,
    )


def columns(
    rows: Sequence[Sequence[str]], titles: Sequence[str], *, last_is_wide: bool = True, last_is_cut: bool = False
) -> RenderableType:
    """Return a table for people; only its last column may wrap, or be cut where the screen ends."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, title in enumerate(titles):
        table.add_column(title, no_wrap=not (last_is_wide and index == len(titles) - 1), overflow="fold")
    for row in rows:
        *cells, last = map(one_line, row)
        # The cell is cut, not its column: Rich would take the room from all columns alike.
        table.add_row(*cells, Text(last, no_wrap=True, overflow="ellipsis") if last_is_cut else last)
    return table


def painted(lines: Iterable[Text], *, width: int) -> list[str]:
    """Return lines as a terminal is to get them, each cut to `width` cells."""
    onto = console(stderr=True)
    drawn = []
    for line in lines:
        cut = line.copy()
        cut.truncate(width, overflow="ellipsis")
        with onto.capture() as captured:
            onto.print(cut, end="", soft_wrap=True)
        drawn.append(captured.get())
    return drawn


@contextmanager
def bar(total: int, *, doing: str, unit: str, is_least: bool = False) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr, which goes with its end; yield what moves it on by one. `is_least`: or more."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    count = TextColumn(f"{{task.completed:,.0f}}/{total:,}{'+' if is_least else ''} {unit}")
    shown = (TextColumn(doing), BarColumn(), count, *([] if is_least else [TimeRemainingColumn()]))
    # Rich lets what is printed meanwhile pass above the bar, but to the bar's own stream: only where people read both.
    passes = is_terminal(sys.stdout)
    with Progress(*shown, console=console(stderr=True), transient=True, redirect_stdout=passes) as progress:
        task = progress.add_task(doing, total=total)
        come = 0

        def advance() -> None:
            nonlocal come
            come += 1
            if come % _STEP == 0 or come == total:
                progress.update(task, completed=come)

        yield advance
