"""Own the entry point `aiki`: answer `--version` before anything is imported, else hand over to Typer."""

from __future__ import annotations

import sys
from typing import NoReturn

from aiki_cli import __version__


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"aiki {__version__}\n")
        sys.exit(0)
    from aiki_cli.app import run

    sys.exit(run(sys.argv[1:]))
