"""`aiki run pause`, `resume`, `cancel` and `wake`: orders to runs that are named, or that a filter finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from aiki import AikiError, Conflict, RunStatus, State
from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands.bulk import UNHURRIED, Pace, Reach
from aiki_cli.commands.filters import EVERY, Filter, KeyedFilter
from aiki_cli.session import Session
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all
from aiki_cli.words.states import unended

if TYPE_CHECKING:
    from aiki import Client
    from aiki_cli.view.bulk import OrderName
    from aiki_cli.view.found import Found, Lines
    from aiki_cli.view.orders import Outcome

    Outcomes: TypeAlias = Sequence[RunStatus | AikiError]
    Give: TypeAlias = Callable[[Sequence[str]], Awaitable[Outcomes]]
    """Gives the order to runs, and returns of each how it is since, or why it does not obey."""

References = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
]


@dataclass(frozen=True)
class _Order:
    """In what the orders differ that only say whether a run obeys."""

    name: OrderName
    done: str
    """What is said of runs that have obeyed."""
    then: str
    """What a person may type next; the runs stand in its braces."""
    among: Collection[State]
    """Which runs a filter means that names no states."""
    give: Callable[[Client], Give]


_PAUSE: Final = _Order(
    name="pause",
    done="paused",
    then="let it go on: aiki run resume {}",
    among=set(unended()) - {State.PAUSED, State.BLOCKED},
    give=lambda client: client.runs.pause_batch,
)
_RESUME: Final = _Order(
    name="resume",
    done="resumed",
    then="follow it: aiki status {} --watch",
    among=(State.PAUSED, State.BLOCKED, State.RETRYING),
    give=lambda client: client.runs.resume_batch,
)
_WAKE: Final = _Order(
    name="wake",
    done="woken",
    then="follow it: aiki status {} --watch",
    among=(State.SCHEDULED, State.SLEEPING),
    give=lambda client: client.runs.wake_batch,
)


@options.command(changes="pause runs")
async def pause(
    session: Session,
    references: References = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; `aiki why` tells it.")] = None,
    wanted: KeyedFilter = EVERY,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Found:
    """Hold runs until they are resumed. A running one lets its tasks end first, and starts no others.

    Of several each has its line; the exit code is the highest: 5 not found, 6 its state forbids it.
    """
    order = replace(_PAUSE, give=lambda client: partial(client.runs.pause_batch, reason=reason))
    return await _ordered(session, references or (), wanted, pace, order, yes=yes)


@options.command(changes="resume runs")
async def resume(
    session: Session,
    references: References = None,
    wanted: KeyedFilter = EVERY,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Found:
    """Let paused or blocked runs go on, or end the wait before a retry.

    Of several each has its line; the exit code is the highest: 5 not found, 6 its state forbids it.
    """
    return await _ordered(session, references or (), wanted, pace, _RESUME, yes=yes)


@options.command(changes="wake runs")
async def wake(
    session: Session,
    references: References = None,
    wanted: KeyedFilter = EVERY,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Found:
    """End the sleep that goes on in runs, or their wait for a first start; never a timeout.

    Of one that is running only its worker knows whether it sleeps: if not, nothing comes of it.

    Of several each has its line; the exit code is the highest: 5 not found, 6 nothing in it sleeps.
    """
    return await _ordered(session, references or (), wanted, pace, _WAKE, yes=yes)


@options.command(changes="cancel runs")
async def cancel(
    session: Session,
    references: References = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")] = None,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait", metavar="10s", help="For how long to see them end: 10s, or 0s of runs that are filtered."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="End them at once: they take nothing back.")] = False,
    wanted: KeyedFilter = EVERY,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Found:
    """Cancel runs. One that has begun is told, and ends once it has taken back what it did.

    With --force they end without that, and what their tasks did until a worker hears of it stands; it asks for a yes.

    Of several each has its line; the exit code is the highest: 5 not found, 6 too late.
    """
    from aiki.manifest import seconds

    patience = None if wait is None else seconds(wait)
    is_found = wanted.is_meant(references or (), command="aiki run cancel RUN")
    client = await session.client()
    give = partial(client.runs.cancel_batch, reason=reason, force=force)
    if is_found:
        would = f"cancelled{_BY_FORCE if force else ''}"
        found = await bulk.reach(session, client, await wanted.runs(client, unended()), pace, yes=yes, would=would)
        return as_obeyed(found, _patient(client, give, patience or 0), order="cancel")
    if force:
        await bulk.agree(session, f"{bulk.counted(len(references or ()))} would be cancelled{_BY_FORCE}", yes=yes)
    then = "see it end: aiki wait {}"
    return await _obeyed(
        session, client, references or (), _patient(client, give, 10 if patience is None else patience), then=then
    )


async def _ordered(
    session: Session, references: Sequence[str], wanted: Filter, pace: Pace, order: _Order, *, yes: bool
) -> Found:
    """Return what comes of an order to runs that are named, or that a filter finds."""
    is_found = wanted.is_meant(references, command=f"aiki run {order.name} RUN")
    client = await session.client()
    if is_found:
        meant = await wanted.runs(client, order.among)
        found = await bulk.reach(session, client, meant, pace, yes=yes, would=order.done)
        return as_obeyed(found, order.give(client), order=order.name)
    return await _obeyed(session, client, references, order.give(client), then=order.then)


_BY_FORCE = " by force, without taking back what they did"


def _patient(client: Client, give: Give, seconds: float) -> Give:
    """Return what gives the order, and sees for so many seconds how runs end by it."""

    async def given(run_ids: Sequence[str]) -> Outcomes:
        return await _as_they_end(client, await give(run_ids), seconds=seconds)

    return given


async def _as_they_end(client: Client, outcomes: Outcomes, *, seconds: float) -> Outcomes:
    """Return what has come of cancels once all have ended, or after so many seconds."""
    going = [run.run_id for run in outcomes if not isinstance(run, AikiError) and run.state in unended()]
    if not going or not seconds:
        return outcomes

    async def end(run_id: str) -> None:
        with suppress(AikiError):  # how it has ended is read below
            await client.handle(run_id).result(timeout=timedelta(seconds=seconds))

    await asyncio.gather(*map(end, going))
    since = {run.run_id: run for run in await client.runs.status(going, follow=False, explain=False)}
    return [one if isinstance(one, AikiError) else _cancelled(since.get(one.run_id, one)) for one in outcomes]


def _cancelled(run: RunStatus) -> RunStatus | AikiError:
    if run.state is not State.CANCELLED and run.state not in unended():
        return Conflict(f"run {run.run_id} has ended {run.state}: the cancel was too late")
    return run


async def _obeyed(session: Session, client: Client, references: Sequence[str], give: Give, *, then: str) -> Found:
    """Return what has come of an order to runs that are named; of the only one its error is raised."""
    from aiki_cli.view.orders import moved

    run_ids = await find_all(client, references)
    outcomes = await give(run_ids)
    if len(outcomes) == 1 and isinstance(outcomes[0], AikiError):
        raise outcomes[0]
    said = then.format(" ".join(run_ids)) if session.out.talkative else None
    return moved(list(zip(run_ids, outcomes, strict=True)), said=said)


def as_obeyed(found: Reach[Sequence[str]], give: Give, *, order: OrderName) -> Lines[Outcome]:
    """Return what comes of an order to runs that were found, as it is given; the exit code is the highest."""
    from aiki_cli.view import bulk as view
    from aiki_cli.view.found import Line, Lines

    tally = view.tally()

    async def outcomes() -> AsyncGenerator[Outcome, None]:
        async with aclosing(found.things) as batches:
            async for run_ids in batches:
                for outcome in zip(run_ids, await give(run_ids), strict=True):
                    yield outcome

    def line(outcome: Outcome) -> Line:
        obeyed = view.obeyed(outcome, order)
        tally.add(obeyed.outcome, None if isinstance(outcome[1], RunStatus) else outcome[1])
        return view.line(obeyed)

    return Lines(
        outcomes(),
        line,
        total=found.total,
        is_least=found.is_least,
        end=partial(tally.end, alone=False),
        doing=order,
        unit="runs",
        named="runs",
    )
