"""`aiki wait`: until runs end. One run's result is printed; several get one line each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aiki import AikiError, PayloadError, RunBlocked, RunCancelled, RunFailed, WaitTimeout
from aiki_cli import exits, options
from aiki_cli.session import Session
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client
    from aiki_cli.view.found import End, Found, Lines
    from aiki_cli.view.outcomes import Outcome


@options.command
async def wait(
    session: Session,
    references: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
    ],
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="10m", help="Give up waiting; exit code 124.")
    ] = None,
    any: Annotated[bool, typer.Option("--any", help="Return when the first has ended.")] = False,
) -> Found:
    """Wait until runs have ended; the exit code tells how.

    0 completed, 1 failed, 3 cancelled, 4 failed by its own timeout, 7 blocked or paused (at once), 124 timeout; of
    several runs the highest.
    """
    client = await session.client()
    run_ids = await find_all(client, references)
    session.note_on_interrupt = f"nothing was cancelled; wait again: aiki wait {' '.join(run_ids)}"
    return wait_for(session, client, run_ids, timeout=timeout, first_only=any)


def wait_for(
    session: Session, client: Client, run_ids: Sequence[str], *, timeout: str | None, first_only: bool = False
) -> Lines[Outcome]:
    """Return what comes of the runs, as it comes; the exit code is the highest."""
    from aiki_cli.view import outcomes
    from aiki_cli.view.found import End, Lines

    wanted = list(dict.fromkeys(run_ids))
    alone = len(wanted) == 1
    codes = [exits.OK]
    errors: list[AikiError] = []

    async def ended() -> AsyncGenerator[Outcome, None]:
        waiting = [asyncio.create_task(_outcome(session, client, run_id, timeout)) for run_id in wanted]
        try:
            for finished in asyncio.as_completed(waiting):
                run_id, result = await finished
                if isinstance(result, AikiError):
                    codes.append(exits.BY_ERROR_CODE[result.code])
                    errors.append(outcomes.explained(run_id, result) if alone else result)
                yield run_id, result
                if first_only or session.out.gone:
                    break
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def end() -> End:
        return End(max(codes), error=errors[0] if alone and errors else None)

    return Lines(ended(), partial(outcomes.line, alone=alone), end=end)


async def _outcome(session: Session, client: Client, run_id: str, timeout: str | None) -> Outcome:
    handle = client.handle(run_id)
    try:
        result: object = await handle.result(timeout=timeout)
    except (RunFailed, RunCancelled, RunBlocked, WaitTimeout, PayloadError) as error:
        return run_id, error
    if session.out.talkative and (run := await handle.status()).retry_of is not None:
        session.out.say(f"run {run_id} was retried; this is of {run.run_id}")
    return run_id, result
