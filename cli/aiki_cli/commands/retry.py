"""`aiki run retry`: runs that failed or were cancelled go on, each in a new run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiki import AikiError, State, UsageError
from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands.bulk import UNHURRIED, Pace
from aiki_cli.commands.filters import EVERY, KeyedFilter
from aiki_cli.commands.orders import References, as_obeyed
from aiki_cli.session import Session
from aiki_cli.words import payload
from aiki_cli.words.inputs import payload_text
from aiki_cli.words.last import remember
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki_cli.commands.orders import Outcomes
    from aiki_cli.view.found import Found

_START: Final = "start"
_HOW: Final = "What is done again"

From = Annotated[
    str | None,
    typer.Option("--from", metavar="TASK|start", help="From where, if not from what failed.", rich_help_panel=_HOW),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="TASK", help="Use its results again; may repeat.", rich_help_panel=_HOW),
]
Again = Annotated[
    list[str] | None,
    typer.Option("--again", metavar="TASK", help="It may begin twice; may repeat.", rich_help_panel=_HOW),
]
Force = Annotated[bool, typer.Option("--force", help="Whatever was done since that place, too.", rich_help_panel=_HOW)]
Base = Annotated[
    str | None,
    typer.Option(
        "-p", "--payload", metavar="JSON|@FILE|-", help="From the start, with another input.", rich_help_panel=_HOW
    ),
]


@options.command(changes="retry runs")
async def retry(
    session: Session,
    references: References = None,
    place: From = None,
    keep: Keep = None,
    again: Again = None,
    force: Force = False,
    base: Base = None,
    wanted: KeyedFilter = EVERY,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Found:
    """Have runs that failed or were cancelled go on, each in a new run: what was done before is not done again.

    Who follows the run, or sends it something, gets to the new one. One retry a run: again shows that.

    Of several each has its line; the exit code is the highest: 5 not found, 6 it cannot be retried so.
    """
    is_found = wanted.is_meant(references or (), command="aiki run retry RUN")
    task = None if place == _START else place
    order: dict[str, Any] = {"from_task": task, "from_start": place == _START, "force": force}
    order |= {"keep": keep or (), "again": again or ()}
    if base is not None:
        order["input"] = payload.parse_object(*payload_text(base, session.out.say))
        if is_found or len(references or ()) != 1:
            raise UsageError("another input is that of one run: name it", hint="aiki run retry RUN -p JSON")
    _check(order)
    client = await session.client()

    async def give(run_ids: Sequence[str]) -> Outcomes:
        return await client.runs.retry_batch(run_ids, per_second=None if is_found else pace.per_second, **order)

    if is_found:
        meant = replace(await wanted.runs(client, (State.FAILED, State.CANCELLED)), retried=False)
        found = await bulk.reach(session, client, meant, pace, yes=yes, would="retried")
        return as_obeyed(found, give, order="retry")
    run_ids = (await find_all(client, references or ()))[: pace.limit]
    outcomes = await give(run_ids) if len(run_ids) > 1 else [await _one(session, client, run_ids[0], order)]
    for new in [one for one in outcomes if not isinstance(one, AikiError)][-1:]:
        remember(client, new.run_id)
    return _shown(session, run_ids, outcomes)


def _check(order: dict[str, Any]) -> None:
    """Raise UsageError for words that make no sense together, before anybody is asked."""
    from aiki.definitions.retrying import RetryOrder

    RetryOrder.of(**order)


async def _one(session: Session, client: Client, run_id: str, order: dict[str, Any]) -> RunStatus:
    """Retry one run, and say so if it was retried before: then it is not done as was said now."""
    handle = await client.handle(run_id).retry(**order)
    if not handle.created and session.out.talkative:
        session.out.say(f"= run {run_id} was retried before; this is its newest retry")
    return replace(await handle.status(), retry_of=run_id)


def _shown(session: Session, run_ids: Sequence[str], outcomes: Outcomes) -> Found:
    """Return what has come of runs that were named."""
    from aiki_cli.view.orders import moved

    new = [one.run_id for one in outcomes if not isinstance(one, AikiError)]
    said = f"follow it: aiki status {' '.join(new)} --watch" if new and session.out.talkative else None
    return moved(list(zip(run_ids, outcomes, strict=True)), said=said)
