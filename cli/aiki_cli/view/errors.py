"""Own how an error is shown: `error: what`, the facts below it, and one `hint:`; or all of that as JSON. Pure."""

from __future__ import annotations

from aiki_cli.view.documents.errors import CommandError, ErrorDetail
from aiki_cli.view.text import lines, to_json


def as_json(code: str, status: int, message: str, hint: str | None) -> str:
    """Return the error for programs, with its stable code and the exit code."""
    return to_json(CommandError(ErrorDetail(code, status, message, hint)))


def as_text(message: str, hint: str | None, trace: str | None) -> str:
    """Return the error for people, with the traceback of a bug if there is one to show."""
    first, *facts = message.split("\n")
    told = [f"error: {first}", *map(_fact, facts)]
    if hint:
        told.append(f"  hint: {hint}")
    if trace:
        told.append(trace)
    return lines("\n".join(told))


def _fact(line: str) -> str:
    """Return a line below the error; what it says may be a stranger's, and must not pass for our hint."""
    return f"  | {line}" if line.lstrip().startswith("hint:") else f"  {line}"
