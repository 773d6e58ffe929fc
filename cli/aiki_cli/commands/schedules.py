"""`aiki schedule`: list, show and next; what declares, fires and orders schedules stands beside it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aiki import UsageError
from aiki_cli import options
from aiki_cli.commands import schedule_options as flags
from aiki_cli.session import Session
from aiki_cli.words import suggestions
from aiki_cli.words.when_words import in_flags, when_words

if TYPE_CHECKING:
    from aiki_cli.running import Later
    from aiki_cli.view.found import Rows

UPCOMING = 5


Count = Annotated[int, typer.Option("-n", "--count", min=1, max=1_000, help="So many.")]


@options.command
async def list_schedules(
    session: Session,
    project: Annotated[
        str | None, typer.Option("--project", metavar="NAME", help="Those that its manifest declares.")
    ] = None,
) -> Rows:
    """List schedules by their names.

    TSV columns: name, state (active, paused, over), when, timezone, workflow, version, next, last_completed, open,
    queued, served, note.
    """
    from aiki_cli.view import schedules

    found = await (await session.client()).schedules.list(project=project)
    return schedules.listed([one.seen for one in found if one.seen is not None])


@options.command
async def show(
    session: Session,
    name: flags.Name,
    slots: Annotated[int, typer.Option("--slots", min=0, max=1_000, help="So many of its latest slots.")] = 20,
) -> Rows:
    """Show a schedule, its next firings and its latest slots. The TSV columns are those of `aiki schedule list`."""
    from aiki_cli.view import schedules

    client = await session.client()
    info = await client.schedules.get(name).info(slots=slots)
    return schedules.whole(info, await client.schedules.next(name, UPCOMING))


@options.command
def upcoming(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A schedule; or say when.", autocompletion=suggestions.schedules),
    ] = None,
    count: Count = UPCOMING,
    cron: flags.Cron = None,
    every: flags.Every = None,
    at: flags.At = None,
    timezone: flags.Timezone = None,
    anchor: flags.Anchor = None,
) -> Later | Rows:
    """Show the next firings of a schedule, or of what is said.

    Of what is said none is made, and no server is asked. TSV columns: slot, fires_at (with jitter somewhat later).
    """
    typed = when_words(cron=cron, every=every, at=at, timezone=timezone, anchor=anchor)
    if name is not None and typed:
        raise UsageError("name a schedule, or say when it would fire: not both", hint=f"aiki schedule next {name}")
    if name is not None:
        return partial(_next_of, session, name, count)
    from aiki.client.when import next_firings
    from aiki_cli.view.firings import rows

    with in_flags():
        slots = next_firings(count, **typed)
    return rows([(slot, slot) for slot in slots], timezone or "UTC")


async def _next_of(session: Session, name: str, count: int) -> Rows:
    from aiki_cli.view.firings import rows

    client = await session.client()
    info = await client.schedules.get(name).info(slots=0)
    return rows(await client.schedules.next(name, count), info.when.timezone)
