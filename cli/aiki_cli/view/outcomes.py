"""Own how what came of runs is shown to whoever waited for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from aiki import AikiError, RunCancelled, RunFailed
from aiki_cli import exits
from aiki_cli.view.documents.errors import OutcomeError
from aiki_cli.view.documents.runs import RunOutcome
from aiki_cli.view.found import End, Line
from aiki_cli.view.text import to_json

Outcome = tuple[str, object]
"""A run's id with its result, or the error that it came to."""

_WORDS: Final = {"timeout": "still going", "held": "blocked or paused", "not_found": "not found"}
"""What outcomes are called where people read."""
_FRAME: Final = re.compile(r'File "([^"]+)", line ([0-9]+), in (.+)')
"""A frame in the text of a traceback; the last one is where it happened."""
_NAMES: Final[Mapping[str, Literal["completed", "cancelled", "held", "timeout", "not_found"]]] = {
    "run_cancelled": "cancelled",
    "run_blocked": "held",
    "wait_timeout": "timeout",
    "not_found": "not_found",
    "payload": "completed",  # with a result that no message can bring here
}
"""What a run came to, by the code of the error that its result is."""


@dataclass
class Tally:
    """What came of the runs so far."""

    runs: int
    """How many are waited for."""
    alone: bool = False
    """Whether a single run was named, of which no more than its result, or its error, is told."""
    counts: Counter[str] = field(default_factory=Counter)
    code: int = exits.OK
    """The highest."""
    error: AikiError | None = None

    def add(self, run_id: str, result: object) -> None:
        """Count an outcome."""
        self.counts[told(run_id, result).outcome] += 1
        if isinstance(result, AikiError):
            self.code = max(self.code, exits.BY_ERROR_CODE.get(result.code, exits.BUG))
            self.error = explained(run_id, result) if self.alone else None

    def end(self) -> End:
        """Return what it comes to: the highest code."""
        if self.alone or not self.code:
            return End(self.code, error=self.error)
        return End(self.code, problem=f"error: not all of {self.runs:,} runs completed: {self}")

    def __str__(self) -> str:
        named = ((_WORDS.get(name, name), count) for name, count in self.counts.items())
        return ", ".join(f"{count:,} {name}" for name, count in named)


def line(outcome: Outcome, *, alone: bool) -> Line:
    """Return the outcome of one of several runs as a line of its own; of the only one the result, and no error."""
    run_id, result = outcome
    value = told(run_id, result)
    if not alone:
        return Line(value, [run_id, value.outcome, said(result)], run_id)
    return Line(value, None if isinstance(result, AikiError) else to_json(result), run_id)


def said(result: object) -> object:
    """Return what a cell says of an outcome: its result, or the error in words."""
    return str(result) if isinstance(result, AikiError) else result


def explained(run_id: str, error: AikiError) -> AikiError:
    """Return the error with where the run failed, and where more is to be read of it."""
    if isinstance(error, RunFailed):
        if frames := _FRAME.findall(error.traceback):
            error.add_note("at {}:{} in {}".format(*frames[-1]))
        error.hint = f"aiki run show {run_id}"
    elif isinstance(error, RunCancelled):
        error.hint = f"aiki run history {run_id}"
    return error


def told(run_id: str, result: object) -> RunOutcome:
    """Return what JSON says of an outcome."""
    match result:
        case RunFailed():
            error = OutcomeError(result.type, result.message, result.traceback or None)
            return RunOutcome(run_id, "failed", error=error)
        case AikiError():
            return RunOutcome(run_id, _NAMES[result.code], error=OutcomeError(result.code, result.message))
        case _:
            return RunOutcome(run_id, "completed", result)
