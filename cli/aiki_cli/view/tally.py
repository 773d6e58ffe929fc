"""Own what many runs, or other things, came to, taken together: how many of each outcome, and the code of the worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiki_cli import exits
from aiki_cli.view.found import End

if TYPE_CHECKING:
    from aiki import AikiError


@dataclass
class Tally:
    """The outcomes so far."""

    said: str | None
    """What a person should know of them."""
    failed: str
    """What is said of those that came to an error, after their number."""
    things: str = "runs"
    """What they are outcomes of."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What outcomes are called, if not by their names."""
    counts: Counter[str] = field(default_factory=Counter)
    code: int = exits.OK
    """The highest of the errors."""
    error: AikiError | None = None
    """The first of them."""

    def add(self, outcome: str, error: AikiError | None) -> None:
        """Count an outcome."""
        self.counts[outcome] += 1
        if error is not None:
            self.error = self.error or error
            self.code = max(self.code, exits.BY_ERROR_CODE.get(error.code, exits.BUG))

    def end(self, *, alone: bool) -> End:
        """Return what it comes to: the highest code. The error of a run that was `alone` is its own."""
        if alone:
            return End(self.code, error=self.error, said=None if self.error else self.said)
        if not self.counts:
            return End(said="no run matches")
        counted = ", ".join(f"{count:,} {self.words.get(name, name)}" for name, count in self.counts.items())
        problem = f"error: {self.counts['refused']:,} {self.things} {self.failed}" if self.error else None
        return End(self.code, problem=problem, said="\n".join(filter(None, [counted, self.said])))
