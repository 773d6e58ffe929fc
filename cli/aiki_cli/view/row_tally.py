"""Own what became of the rows that were sent: how many are new, how many were there, which were refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiki import AikiError
from aiki_cli import exits
from aiki_cli.view.documents.enqueued import EnqueuedRows, RefusedLine
from aiki_cli.view.found import End
from aiki_cli.view.text import one_line

if TYPE_CHECKING:
    from aiki import Handle
    from aiki_cli.words.rows import Row

Sent: TypeAlias = "tuple[Row, Handle[Any] | AikiError]"
"""A row and its answer."""

SHOWN_ROWS: Final = 20


@dataclass
class Tally:
    """What became of the rows so far."""

    rows: int
    created: int = 0
    existing: int = 0
    refused: list[tuple[int, AikiError]] = field(default_factory=list)
    """Line and reason."""

    @property
    def sent(self) -> int:
        """Rows that have been answered."""
        return self.created + self.existing + len(self.refused)

    @property
    def end(self) -> End:
        """What it comes to: the highest code of a refusal, and the first of these in words."""
        if not self.refused:
            return End()
        code = max(exits.BY_ERROR_CODE.get(error.code, exits.BUG) for _, error in self.refused)
        lines = "".join(f"\n  {line}" for line in listed(self.refused))
        return End(code, problem=f"error: rows were refused{lines}")

    def add(self, row: Row, outcome: Handle[Any] | AikiError) -> None:
        """Count a row that has been answered."""
        if isinstance(outcome, AikiError):
            self.refused.append((row.line, outcome))
        else:
            self.created += outcome.created
            self.existing += not outcome.created

    def counts(self) -> EnqueuedRows:
        """Return what JSON says of the rows."""
        refused = [RefusedLine(line, error.code, str(error)) for line, error in self.refused]
        return EnqueuedRows(self.rows, self.created, self.existing, refused)

    def __str__(self) -> str:
        parts = [f"{self.created:,} enqueued"]
        if self.existing:
            parts.append(f"{self.existing:,} were there already")
        if self.refused:
            parts.append(f"{len(self.refused):,} refused")
        return f"{self.sent:,} of {self.rows:,} rows: {', '.join(parts)}"


def listed(mistakes: Sequence[tuple[int, AikiError]]) -> list[str]:
    """Return the first of the lines that are wrong, with why, and how many others there are."""
    lines = [one_line(f"line {line}: {error}") for line, error in mistakes[:SHOWN_ROWS]]
    more = len(mistakes) - SHOWN_ROWS
    return [*lines, f"... and {more:,} more"] if more > 0 else lines
