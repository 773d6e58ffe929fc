"""Own how an error reaches a person or a script: `error: what`, the facts, one `hint:`, and the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import ClassVar

from aiki import AikiError
from aiki_cli import exits
from aiki_cli.output import Mode, to_json
from aiki_cli.secrets import without_secrets


class UnreadableInput(AikiError):
    """A file that the command line names cannot be read."""

    code: ClassVar[str] = "no_input"


def report(error: BaseException, mode: Mode) -> int:
    """Write `error` to stderr in the mode's form, and return the exit code."""
    code, message, hint = describe(error)
    message, hint = without_secrets(message), hint and without_secrets(hint)
    status = exits.BY_ERROR_CODE.get(code, exits.BUG)
    if mode in {Mode.JSON, Mode.JSONL}:
        shown = {"code": code, "exit": status, "message": message, "hint": hint}
        sys.stderr.write(to_json({"error": shown}) + "\n")
        return status
    first, *facts = message.splitlines() or [""]
    lines = [f"error: {first}", *(f"  {fact}" for fact in facts)]
    if hint:
        lines.append(f"  hint: {hint}")
    sys.stderr.write("\n".join(lines) + "\n")
    if status == exits.BUG and os.environ.get("AIKI_DEBUG"):
        sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))
    return status


def describe(error: BaseException) -> tuple[str, str, str | None]:
    """Return the error's code, message and hint."""
    if isinstance(error, AikiError):
        notes = getattr(error, "__notes__", [])
        code = error.code if error.code in exits.BY_ERROR_CODE else "internal"
        return code, "\n".join([str(error), *notes]), error.hint
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    message = f"a bug in aiki: {type(error).__name__}: {error}{where}"
    return "internal", message, "set AIKI_DEBUG=1 and repeat, then report the traceback"
