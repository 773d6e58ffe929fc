"""`aiki run delete`: runs that have ended, with their retries and all that they have started."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from aiki import AikiError
from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands.bulk import UNHURRIED, Pace, Reach
from aiki_cli.commands.filters import EVERY, KeyedFilter
from aiki_cli.commands.orders import References
from aiki_cli.session import Session
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client
    from aiki.client.deleting import DeletedRun
    from aiki_cli.view.found import Found

ForgetKeys = Annotated[
    bool,
    typer.Option("--forget-keys", help="Free their idempotency keys at once: a repeat of an enqueue is a new run."),
]


@options.command(changes="delete runs")
async def delete(
    session: Session,
    references: References = None,
    forget_keys: ForgetKeys = False,
    wanted: KeyedFilter = EVERY,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Found:
    """Delete runs that have ended, each with its retries and all that it has started. Nothing brings them back.

    What has not ended stays, and what a run may read again that has not ended, or may be retried. Idempotency keys stay
    taken for as long as those of runs that retention deletes. What is cut off goes on when it is repeated.

    TSV columns: id, how many runs went with it (none if it was not there any more), why it stays. The exit code is 6 if
    one does.
    """
    from aiki_cli.words.states import ended

    is_found = wanted.is_meant(references or (), command="aiki run delete RUN")
    client = await session.client()
    if is_found:
        would = "deleted, with their retries and all that they have started"
        meant = await wanted.runs(client, ended())
        found = await bulk.reach(session, client, meant, pace, yes=yes, would=would)
        return _deleted(client, found, forget_keys=forget_keys)
    run_ids = (await find_all(client, references or ()))[: pace.limit]
    if not yes:
        told = _would(await client.runs.delete(run_ids, preview=True))
        await bulk.agree(session, told, yes=yes)
    if len(run_ids) == 1:
        return await _one(client, run_ids[0], forget_keys=forget_keys)
    return _deleted(client, Reach(bulk.in_batches(run_ids), len(run_ids)), forget_keys=forget_keys)


async def _one(client: Client, run_id: str, *, forget_keys: bool) -> Found:
    """Return what has become of the only run that was named. Raises its error, if it stays."""
    from aiki_cli.view import deletions

    (one,) = await client.runs.delete([run_id], forget_keys=forget_keys)
    if isinstance(one, AikiError):
        raise one
    return deletions.line((run_id, one))


def _would(previewed: Sequence[DeletedRun | AikiError]) -> str:
    """Return what would be deleted, in words. Raises the error of the only run that was named, if it stays."""
    if len(previewed) == 1 and isinstance(previewed[0], AikiError):
        raise previewed[0]
    going = [one for one in previewed if not isinstance(one, AikiError)]
    others = sum(one.runs for one in going) - len(going)
    besides = (
        f", and {bulk.counted(others)} that {'belongs' if others == 1 else 'belong'} to them" if others > 0 else ""
    )
    stay = f"; {len(previewed) - len(going):,} would stay" if len(going) < len(previewed) else ""
    return f"{bulk.counted(len(going))} would be deleted{besides}{stay}"


def _deleted(client: Client, reached: Reach[Sequence[str]], *, forget_keys: bool) -> Found:
    """Return what becomes of runs, as they are deleted."""
    from aiki_cli.view import deletions
    from aiki_cli.view.found import Line, Lines

    tally = deletions.tally()

    async def outcomes() -> AsyncGenerator[deletions.Outcome, None]:
        async with aclosing(reached.things) as batches:
            async for run_ids in batches:
                found = await client.runs.delete(run_ids, forget_keys=forget_keys)
                for outcome in zip(run_ids, found, strict=True):
                    yield outcome

    def line(outcome: deletions.Outcome) -> Line:
        tally.add(*deletions.counts(outcome))
        return deletions.line(outcome)

    return Lines(
        outcomes(),
        line,
        total=reached.total,
        is_least=reached.is_least,
        end=lambda: tally.end(alone=False),
        doing="delete",
        unit="runs",
        named="runs",
    )
