"""Own how an error reaches a person or a script: `error: what`, the facts, one `hint:`, and the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import ClassVar

from aiki import AikiError
from aiki_cli import exits
from aiki_cli.view import text
from aiki_cli.view.output import Mode
from aiki_cli.view.secrets import without_secrets
from aiki_cli.view.text import to_json


class UnreadableInput(AikiError):
    """A file that the command line names cannot be read."""

    code: ClassVar[str] = "no_input"


class UnwritableOutput(AikiError):
    """Stdout did not take what stands there for a result."""

    code: ClassVar[str] = "no_output"


def report(error: BaseException, mode: Mode) -> int:
    """Write `error` to stderr in the mode's form, and return the exit code."""
    code, message, hint = describe(error)
    message, hint = without_secrets(message), hint and without_secrets(hint)
    status = exits.BY_ERROR_CODE.get(code, exits.BUG)
    if mode in {Mode.JSON, Mode.JSONL}:
        shown = {"code": code, "exit": status, "message": message, "hint": hint}
        sys.stderr.write(to_json({"error": shown}) + "\n")
        return status
    first, *facts = message.split("\n")
    lines = [f"error: {first}", *map(_fact, facts)]
    if hint:
        lines.append(f"  hint: {hint}")
    if status == exits.BUG and os.environ.get("AIKI_DEBUG"):
        lines.append(without_secrets("".join(traceback.format_exception(error))))
    sys.stderr.write(text.lines("\n".join(lines)) + "\n")
    return status


def _fact(line: str) -> str:
    """Return a line below the error; what it says may be a stranger's, and must not pass for our hint."""
    return f"  | {line}" if line.lstrip().startswith("hint:") else f"  {line}"


def describe(error: BaseException) -> tuple[str, str, str | None]:
    """Return the error's code, message and hint."""
    if isinstance(error, AikiError):
        code = error.code if error.code in exits.BY_ERROR_CODE else "internal"
        return code, "\n".join([str(error), *error.facts]), error.command or error.hint
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    message = f"a bug in aiki: {type(error).__name__}: {error}{where}"
    return "internal", message, "set AIKI_DEBUG=1 and repeat, then report the traceback"
