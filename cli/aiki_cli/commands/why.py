"""`aiki why`: what a run waits for, since when, and what would move it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki_cli.view.found import Found


@options.command
async def why(
    session: Session,
    reference: Annotated[
        str,
        typer.Argument(metavar="RUN", help="An id, a part of one, or workflow@key.", autocompletion=suggestions.runs),
    ],
) -> Found:
    """Say why a run does not move: what it waits for, since when, and what would move it.

    A run that waits for a child, or for another run, is followed to the one that really waits. TSV columns: run, kind,
    sentence; a line for each reason, the main one first.
    """
    from aiki_cli.view.why import rows

    client = await session.client()
    (run_id,) = await find_all(client, [reference])
    return rows(await client.runs.why(run_id))
