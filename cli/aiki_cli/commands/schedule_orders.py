"""`aiki schedule pause`, `resume` and `delete`: orders to schedules that are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands import schedule_options as flags
from aiki_cli.session import Session

if TYPE_CHECKING:
    from aiki import AikiError
    from aiki_cli.view.found import Rows
    from aiki_cli.view.schedule_orders import Done


@options.command(changes="pause schedules")
async def pause(
    session: Session,
    names: flags.Names,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why; shown with them.")] = None,
) -> Rows:
    """Pause schedules until they are resumed. Their runs go on.

    Of several each has its line; the exit code is the highest: 5 not found.
    """
    outcomes = await (await session.client()).schedules.pause_batch(names, note=note)
    return _obeyed(session, names, outcomes, "paused", then="let it fire again: aiki schedule resume {}")


@options.command(changes="resume schedules")
async def resume(session: Session, names: flags.Names) -> Rows:
    """Let schedules fire again from now on.

    Slots that lie behind are missed; a backfill may fire them. Of several each has its line; the exit code is the
    highest: 5 not found.
    """
    outcomes = await (await session.client()).schedules.resume_batch(names)
    return _obeyed(session, names, outcomes, "resumed", then="see when: aiki schedule next {}")


@options.command(changes="delete schedules")
async def delete(
    session: Session,
    names: flags.Names,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, unasked.")] = False,
) -> Rows:
    """Delete schedules. Their runs stay.

    Of several each has its line; the exit code is the highest: 5 not found.
    """
    many = f"{len(names):,} schedules" if len(names) > 1 else f"schedule {names[0]}"
    client = await session.client()
    await bulk.agree(session, f"{many} would be deleted", yes=yes)
    return _obeyed(session, names, await client.schedules.delete_batch(names), "deleted", then=None)


def _obeyed(
    session: Session, names: Sequence[str], outcomes: Sequence[AikiError | None], done: Done, *, then: str | None
) -> Rows:
    """Return what has come of an order; of the only schedule its error is raised."""
    from aiki_cli.view.schedule_orders import ordered

    if len(outcomes) == 1 and outcomes[0] is not None:
        raise outcomes[0]
    said = then.format(names[0]) if then and len(names) == 1 and session.out.talkative else None
    return ordered(list(zip(names, outcomes, strict=True)), done, said=said)
