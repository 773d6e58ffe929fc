"""Own how an error reaches a person or a script: `error: what`, the facts, one `hint:`, and the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import ClassVar

from aiki import AikiError
from aiki_cli import exits
from aiki_cli.view import errors
from aiki_cli.view.output import Mode
from aiki_cli.view.secrets import without_secrets


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
    if mode.is_json:
        shown = errors.as_json(code, status, message, hint)
    else:
        details = status == exits.BUG and os.environ.get("AIKI_DEBUG")
        trace = without_secrets("".join(traceback.format_exception(error))) if details else None
        shown = errors.as_text(message, hint, trace)
    sys.stderr.write(shown + "\n")
    return status


def describe(error: BaseException) -> tuple[str, str, str | None]:
    """Return the error's code, message and hint."""
    if isinstance(error, AikiError):
        code = error.code if error.code in exits.BY_ERROR_CODE else "internal"
        return code, "\n".join([str(error), *error.facts]), error.command or error.hint
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    message = f"a bug in aiki: {type(error).__name__}: {error}{where}"
    return "internal", message, "set AIKI_DEBUG=1 and repeat, then report the traceback"
