"""`aiki wait`: until runs end. One run's result is printed; several get one line each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiki import AikiError, PayloadError, RunBlocked, RunCancelled, RunFailed, WaitTimeout
from aiki_cli import exits, failures, options
from aiki_cli.session import Session
from aiki_cli.view.output import Mode
from aiki_cli.view.text import to_json
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client

_LINE: Final = re.compile(r'File "([^"]+)", line ([0-9]+), in (.+)')
"""A frame in the text of a traceback; the last one is where it happened."""

Outcome = tuple[str, object]
"""A run's id with its result, or the error that it came to."""


@options.command
def wait(
    session: Session,
    references: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
    ],
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="10m", help="Give up waiting; exit code 124.")
    ] = None,
    any: Annotated[bool, typer.Option("--any", help="Return when the first has ended.")] = False,
) -> int:
    """Wait until runs have ended; the exit code tells how.

    0 completed, 1 failed, 3 cancelled, 7 blocked or paused (at once), 124 timeout; of several runs the highest.
    """
    return session.run(lambda: _wait(session, references, timeout=timeout, first_only=any))


async def _wait(session: Session, references: Sequence[str], *, timeout: str | None, first_only: bool) -> int:
    async with session.connect() as client:
        run_ids = await find_all(client, references)
        session.note_on_interrupt = f"nothing was cancelled; wait again: aiki wait {' '.join(run_ids)}"
        return await wait_for(session, client, run_ids, timeout=timeout, first_only=first_only)


async def wait_for(
    session: Session, client: Client, run_ids: Sequence[str], *, timeout: str | None, first_only: bool = False
) -> int:
    """Wait for the runs, print what came of them, and return the highest exit code."""
    waiting = [asyncio.create_task(_outcome(client, run_id, timeout)) for run_id in dict.fromkeys(run_ids)]
    codes = []
    try:
        for finished in asyncio.as_completed(waiting):
            codes.append(_show(session, await finished, alone=len(waiting) == 1))
            if first_only or session.out.gone:
                break
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return max(codes)


async def _outcome(client: Client, run_id: str, timeout: str | None) -> Outcome:
    try:
        result: object = await client.handle(run_id).result(timeout=timeout)
    except (RunFailed, RunCancelled, RunBlocked, WaitTimeout, PayloadError) as error:
        return run_id, error
    return run_id, result


def _show(session: Session, outcome: Outcome, *, alone: bool) -> int:
    out = session.out
    run_id, result = outcome
    error = result if isinstance(result, AikiError) else None
    if out.mode is Mode.IDS:
        out.write(run_id)
    elif out.mode in {Mode.JSON, Mode.JSONL}:
        out.write(to_json({"id": run_id, **_members(result)}))
    elif not alone:
        members = _members(result)
        out.row([run_id, members["outcome"], members["result"] if error is None else str(error)])
    elif error is None:
        out.write(to_json(result))
    if error is None:
        return exits.OK
    if alone and out.mode not in {Mode.JSON, Mode.JSONL}:
        if isinstance(error, RunFailed):
            if line := _LINE.findall(error.traceback):
                error.add_note("at {}:{} in {}".format(*line[-1]))
            error.hint = f"aiki run show {run_id}"
        return failures.report(error, out.mode)
    return exits.BY_ERROR_CODE[error.code]


def _members(result: object) -> dict[str, Any]:
    """Return what JSON says of an outcome: always all members."""
    members: dict[str, Any] = {"outcome": "completed", "result": None, "error": None}
    match result:
        case RunFailed():
            detail = {"type": result.type, "message": result.message, "traceback": result.traceback or None}
            return members | {"outcome": "failed", "error": detail}
        case AikiError():
            names = {
                "run_cancelled": "cancelled",
                "run_blocked": "held",
                "wait_timeout": "timeout",
                "payload": "completed",  # with a result that no message can bring here
            }
            return members | {"outcome": names[result.code], "error": {"type": result.code, "message": result.message}}
        case _:
            return members | {"result": result}
