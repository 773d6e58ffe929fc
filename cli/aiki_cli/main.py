"""Own the entry point `aiki`: answer `--version` before anything is imported, else hand over to Typer."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

from aiki_cli import __version__

_RUN_USER_CODE: Final = frozenset({"worker", "dev"})


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"aiki {__version__}\n")
        sys.exit(0)
    try:
        from aiki.process.stderr import protect_stderr
        from aiki_cli.app import run

        protect_stderr()
        code = run(arguments)
    except KeyboardInterrupt:  # while it was still importing
        code = 130
    if _RUN_USER_CODE.isdisjoint(arguments):
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End the process without the interpreter's clean-up, which is an eighth of a short command's time.

    Nothing waits for it: the connection is closed, no code of users' ran, and no thread of ours is left.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # it was closed before we began
                stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it has gone
    os._exit(code)
