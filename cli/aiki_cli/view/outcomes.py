"""Own how what came of a run is shown to whoever waited for it."""

from __future__ import annotations

import re
from typing import Any, Final

from aiki import AikiError, RunFailed
from aiki_cli.view.found import Line
from aiki_cli.view.text import to_json

Outcome = tuple[str, object]
"""A run's id with its result, or the error that it came to."""

_FRAME: Final = re.compile(r'File "([^"]+)", line ([0-9]+), in (.+)')
"""A frame in the text of a traceback; the last one is where it happened."""


def line(outcome: Outcome, *, alone: bool) -> Line:
    """Return the outcome of one of several runs as a line of its own; of the only one the result, and no error."""
    run_id, result = outcome
    members = _members(result)
    value = {"id": run_id, **members}
    if not alone:
        told = str(result) if isinstance(result, AikiError) else members["result"]
        return Line(value, [run_id, members["outcome"], told], run_id)
    return Line(value, None if isinstance(result, AikiError) else to_json(result), run_id)


def explained(run_id: str, error: AikiError) -> AikiError:
    """Return the error with where the run failed, and where more is to be read of it."""
    if isinstance(error, RunFailed):
        if frames := _FRAME.findall(error.traceback):
            error.add_note("at {}:{} in {}".format(*frames[-1]))
        error.hint = f"aiki run show {run_id}"
    return error


def _members(result: object) -> dict[str, Any]:
    """Return what JSON says of an outcome: always all members."""
    members: dict[str, Any] = {"outcome": "completed", "result": None, "error": None}
    match result:
        case RunFailed():
            detail = {"type": result.type, "message": result.message, "traceback": result.traceback or None}
            return members | {"outcome": "failed", "error": detail}
        case AikiError():
            names = {
                "run_cancelled": "cancelled",
                "run_blocked": "held",
                "wait_timeout": "timeout",
                "payload": "completed",  # with a result that no message can bring here
            }
            return members | {"outcome": names[result.code], "error": {"type": result.code, "message": result.message}}
        case _:
            return members | {"result": result}
