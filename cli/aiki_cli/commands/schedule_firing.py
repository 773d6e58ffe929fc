"""`aiki schedule trigger` and `backfill`: slots that are fired out of turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiki import UsageError
from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands import schedule_options as flags
from aiki_cli.session import Session
from aiki_cli.words.last import remember
from aiki_cli.words.times import moment_of

if TYPE_CHECKING:
    from aiki_cli.view.found import Found, Rows

Wait = Annotated[bool, typer.Option("--wait", help="Wait for the result.")]
Timeout = Annotated[str | None, typer.Option("--timeout", metavar="1m", help="With --wait: give up waiting.")]


@options.command(changes="fire a schedule")
async def trigger(session: Session, name: flags.Name, wait: Wait = False, timeout: Timeout = None) -> Found:
    """Fire a schedule now and print the run's id.

    It fires also if it is paused, and whatever its overlap says; its other slots stay as they are.
    """
    from aiki.manifest import seconds as seconds_of

    if timeout is not None and not wait:
        raise UsageError("--timeout bounds --wait, and there is none")
    seconds = None if timeout is None else seconds_of(timeout)
    client = await session.client()
    run_id = (await client.schedules.get(name).trigger()).run_id
    remember(client, run_id)
    if session.out.talkative:
        session.out.say(f"✓ fired {name}; " + (f"waiting for {run_id}" if wait else f"aiki status {run_id} --watch"))
    if not wait:
        from aiki_cli.view.documents.schedules import Triggered
        from aiki_cli.view.found import Line

        return Line(Triggered(run_id, name), run_id, run_id)
    from aiki_cli.commands.wait import wait_for

    session.note_on_interrupt = f"the run goes on: aiki wait {run_id}"
    return wait_for(session, client, [run_id], seconds=seconds)


@options.command(changes="fire slots of a schedule")
async def backfill(
    session: Session,
    name: flags.Name,
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="2026-11-22T21:00 or 2026-11-22, local unless it says.")
    ],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Slots before that.")],
    overlap: flags.Overlap = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, unasked; off a terminal they are only counted.")] = False,
) -> Rows:
    """Fire slots that lie behind.

    Each is fired once, and only if it has no run; at most 1,000. They are counted first. TSV columns: slot, until,
    count, kind, result, run_id, state, reason. The exit code is 65 if one was refused.
    """
    from aiki_cli.view import slots

    start, end = moment_of(since, "--from"), moment_of(until, "--to")
    assert start is not None
    assert end is not None
    schedules = (await session.client()).schedules
    how = overlap or "allow"
    if not yes and (found := await schedules.backfill(name, start, end, overlap=how, dry_run=True)):
        await bulk.agree(session, slots.preview(name, found), yes=False)
    fired = await schedules.backfill(name, start, end, overlap=how)
    return slots.rows(fired, said=slots.counted(fired))
