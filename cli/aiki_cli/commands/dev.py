"""`aiki dev`: all of Aiki on this machine in one terminal, on data that survives restarts."""

from __future__ import annotations

from typing import Annotated

import typer

from aiki_cli import options
from aiki_cli.commands.modules import Modules
from aiki_cli.session import Session


@options.command
def dev(
    session: Session,
    modules: Modules = None,
    example: Annotated[
        str | None, typer.Option("--example", metavar="hello", help="Write an example and run it.")
    ] = None,
) -> int:
    """Run Postgres, NATS, aikid and a worker that follows your code; Ctrl-C stops all, the data stays in .aiki/."""
    from aiki_cli.processes.dev_servers import run_dev

    return run_dev(session, modules or (), example)
