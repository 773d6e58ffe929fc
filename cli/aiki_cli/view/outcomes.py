"""Own how what came of a run is shown to whoever waited for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from aiki import AikiError, RunFailed
from aiki_cli.view.documents.runs import OutcomeError, RunOutcome
from aiki_cli.view.found import Line
from aiki_cli.view.text import to_json

Outcome = tuple[str, object]
"""A run's id with its result, or the error that it came to."""

_FRAME: Final = re.compile(r'File "([^"]+)", line ([0-9]+), in (.+)')
"""A frame in the text of a traceback; the last one is where it happened."""
_NAMES: Final[Mapping[str, Literal["completed", "cancelled", "held", "timeout"]]] = {
    "run_cancelled": "cancelled",
    "run_blocked": "held",
    "wait_timeout": "timeout",
    "payload": "completed",  # with a result that no message can bring here
}
"""What a run came to, by the code of the error that its result is."""


def line(outcome: Outcome, *, alone: bool) -> Line:
    """Return the outcome of one of several runs as a line of its own; of the only one the result, and no error."""
    run_id, result = outcome
    value = _told(run_id, result)
    if not alone:
        told = str(result) if isinstance(result, AikiError) else result
        return Line(value, [run_id, value.outcome, told], run_id)
    return Line(value, None if isinstance(result, AikiError) else to_json(result), run_id)


def explained(run_id: str, error: AikiError) -> AikiError:
    """Return the error with where the run failed, and where more is to be read of it."""
    if isinstance(error, RunFailed):
        if frames := _FRAME.findall(error.traceback):
            error.add_note("at {}:{} in {}".format(*frames[-1]))
        error.hint = f"aiki run show {run_id}"
    return error


def _told(run_id: str, result: object) -> RunOutcome:
    """Return what JSON says of an outcome."""
    match result:
        case RunFailed():
            error = OutcomeError(result.type, result.message, result.traceback or None)
            return RunOutcome(run_id, "failed", error=error)
        case AikiError():
            return RunOutcome(run_id, _NAMES[result.code], error=OutcomeError(result.code, result.message))
        case _:
            return RunOutcome(run_id, "completed", result)
