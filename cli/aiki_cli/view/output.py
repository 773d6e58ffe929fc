"""Own the two streams: stdout carries the result alone, stderr the talk. No write to them raises (`aiki.process`).

The shape of a result is chosen once (`-o`): tables for people on a terminal, TSV off it. Rich is imported only to draw.
Whatever goes out here is escaped here, or when it is put into a table: no command can forget it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aiki.process.stdout import lost
from aiki_cli.view.text import coloured, lines, one_line, to_json, tsv_cell

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class NobodyReads(Exception):
    """Stdout takes nothing more, so a view that goes on until somebody leaves has come to its end."""


class Mode(StrEnum):
    """The shape of what stdout carries."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"
    IDS = "ids"


@dataclass(frozen=True)
class Output:
    """Where a command writes."""

    mode: Mode
    quiet: bool = False

    @classmethod
    def choose(cls, mode: Mode | None, *, quiet: bool) -> Output:
        """Return the output for what was asked: a table on a terminal, TSV off it, unless told."""
        return cls(mode or (Mode.TABLE if is_terminal(sys.stdout) else Mode.TSV), quiet)

    @property
    def live(self) -> bool:
        """Whether a view may be redrawn in place."""
        return self.mode is Mode.TABLE and is_terminal(sys.stdout)

    def write(self, line: str) -> None:
        """Write one line of the result, and flush it: whoever reads a pipe sees it now."""
        sys.stdout.write(lines(line) + "\n")
        sys.stdout.flush()

    @property
    def gone(self) -> bool:
        """Whether stdout takes nothing more."""
        return lost() is not None

    def go_on(self) -> None:
        """Raise NobodyReads once stdout takes nothing more. For what only shows: what acts goes on to its end."""
        if self.gone:
            raise NobodyReads

    def document(self, value: object) -> None:
        """Write one JSON document; indented for people, on one line for programs."""
        self.write(to_json(value, indent=2 if is_terminal(sys.stdout) else None))

    def row(self, cells: Iterable[object]) -> None:
        """Write one line of TSV."""
        self.write("\t".join(tsv_cell(cell) for cell in cells))

    def draw(self, renderable: RenderableType) -> None:
        """Draw for people."""
        console().print(renderable)

    def say(self, text: str) -> None:
        """Tell people something that is no result."""
        if not self.quiet:
            sys.stderr.write(lines(text) + "\n")
            sys.stderr.flush()

    def pass_on(self, name: str, line: str) -> None:
        """Tell people what a process of ours has said, under its name."""
        if not self.quiet:
            plain = not is_terminal(sys.stderr) or bool(os.environ.get("NO_COLOR"))
            label = f"{name:6} │" if plain else f"\033[2m{name:6} │\033[0m"
            sys.stderr.write(f"{label} {coloured(line)}\n")
            sys.stderr.flush()

    @property
    def talkative(self) -> bool:
        """Whether a person reads stderr and wants to."""
        return not self.quiet and is_terminal(sys.stderr)


def is_terminal(stream: Any) -> bool:
    """Tell whether a person reads the stream."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


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
