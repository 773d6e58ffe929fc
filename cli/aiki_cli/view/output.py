"""Own the two streams: stdout carries the result alone, stderr the talk. No write to them raises (`aiki.process`).

The shape of a result is chosen once (`-o`): tables for people on a terminal, TSV off it. Whatever goes out here is
escaped here, or when it is put into a table: no command can forget it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from aiki.process.stdout import lost
from aiki_cli.view.text import coloured, lines, to_json, tsv_cell

if TYPE_CHECKING:
    from aiki_cli.view.choice import Choice


class NobodyReads(Exception):
    """Stdout takes nothing more, so a view that goes on until somebody leaves has come to its end."""


class Mode(StrEnum):
    """The shape of what stdout carries."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"
    IDS = "ids"

    @property
    def is_json(self) -> bool:
        """Whether programs read it, so that errors are told as JSON too."""
        return self in {Mode.JSON, Mode.JSONL}

    @classmethod
    def asked(cls, arguments: Sequence[str]) -> Mode:
        """Return the mode that unreadable arguments seem to ask for."""
        words = " ".join(arguments).replace("=", " ").replace("-ojson", "-o json").split()
        asked = [after for word, after in pairwise(words) if word in {"-o", "--output"}]
        return cls.JSON if [*asked, os.environ.get("AIKI_OUTPUT")][0] in {"json", "jsonl"} else cls.TSV


@dataclass(frozen=True)
class Output:
    """Where a command writes."""

    mode: Mode
    quiet: bool = False
    columns: Choice | None = None
    """Those that were chosen; None for all."""

    @classmethod
    def choose(cls, mode: Mode | None, *, quiet: bool) -> Output:
        """Return the output for what was asked: a table on a terminal, TSV off it, unless told."""
        return cls(mode or (Mode.TABLE if is_terminal(sys.stdout) else Mode.TSV), quiet)

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
        """Write one line of TSV, with the cells that were chosen of it."""
        chosen = cells if self.columns is None else self.columns.pick(list(cells))
        self.write("\t".join(tsv_cell(cell) for cell in chosen))

    def say(self, text: str) -> None:
        """Tell people something that is no result."""
        if not self.quiet:
            sys.stderr.write(lines(text) + "\n")
            sys.stderr.flush()

    async def agreed(self, question: str) -> bool:
        """Ask a person, who may also press Ctrl-C. Who is not at a terminal, to read and to type, agrees to nothing."""
        import asyncio

        if not self.can_ask:
            return False
        sys.stderr.write(question)
        sys.stderr.flush()
        loop, typed = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin, typed.set)
        try:
            await typed.wait()
        finally:
            loop.remove_reader(sys.stdin)
        return _says_yes()

    def agrees(self, question: str) -> bool:
        """Ask a person as `agreed` does, where no loop runs."""
        if not self.can_ask:
            return False
        sys.stderr.write(question)
        sys.stderr.flush()
        return _says_yes()

    def pass_on(self, name: str, line: str) -> None:
        """Tell people what a process of ours has said, under its name."""
        if not self.quiet:
            plain = not is_terminal(sys.stderr) or bool(os.environ.get("NO_COLOR"))
            label = f"{name:6} │" if plain else f"\033[2m{name:6} │\033[0m"
            sys.stderr.write(f"{label} {coloured(line)}\n")
            sys.stderr.flush()

    @property
    def can_ask(self) -> bool:
        """Whether a person is there who may be asked."""
        return is_terminal(sys.stdin) and self.talkative

    @property
    def talkative(self) -> bool:
        """Whether a person reads stderr and wants to."""
        return not self.quiet and is_terminal(sys.stderr)


def _says_yes() -> bool:
    typed = sys.stdin.readline()
    if not typed:  # Ctrl-D leaves the line open
        sys.stderr.write("\n")
    return typed.strip().lower() in {"y", "yes"}


def is_terminal(stream: Any) -> bool:
    """Tell whether a person reads the stream."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
