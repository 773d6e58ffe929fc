"""`aiki status`: runs as they are now, or as they change; without a run, a summary of all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from aiki import UsageError
from aiki_cli import exits, options
from aiki_cli.commands.detaching import CancelOnInterrupt, cancel_with, going
from aiki_cli.session import Session
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.client.counts import NamespaceSummary
    from aiki.definitions.view import RunView
    from aiki_cli.view.found import Found, Rows


@options.command
async def status(
    session: Session,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show each change until all have ended.")] = False,
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="Exit by the runs' states: as `aiki wait`, 8 if still going.")
    ] = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    storage: Annotated[
        bool, typer.Option("--storage", help="Show what the runs take up, by table and by workflow.")
    ] = False,
) -> Found:
    """Show runs, or a summary of all.

    TSV columns: id, state, workflow, version, created_at, started_at, finished_at, due_at, attempt, claims, tasks, key,
    why (or how far a task is). Of the summary: workflow, version, state, runs (10000+ for more that have ended).
    Of --storage: table or workflow, name, runs or rows, bytes, index bytes, ended, and what retention would free: runs,
    bytes.
    """
    if cancel_on_interrupt and not (watch and references):
        raise UsageError("--cancel-on-interrupt is of runs that are watched: name them, with --watch")
    session.cancels_on_interrupt = cancel_on_interrupt
    client = await session.client()
    if storage:
        from aiki_cli.view import storage as shown

        if references or watch or exit_status:
            raise UsageError("it is of all runs, as they are now: name no RUN, --watch or --exit-status with it")
        return shown.rows(await client.runs.storage())
    if not references:
        from aiki_cli.view import summary
        from aiki_cli.view.found import Pages

        if watch:
            from aiki_cli.view.summary_board import SummaryBoard

            return Pages(_summaries(session, client), summary.rows, SummaryBoard())
        return summary.rows(await client.runs.summary())
    run_ids = await find_all(client, references)
    if watch:
        session.note_on_interrupt = f"the run goes on: aiki status {' '.join(run_ids)} --watch"
        return _watched(session, client, run_ids, exit_status=exit_status)
    return _rows(await client.runs.status(run_ids), alone=len(run_ids) == 1, exit_status=exit_status)


def _rows(runs: Sequence[RunStatus], *, alone: bool, exit_status: bool) -> Rows:
    from aiki_cli.view.runs import rows

    codes = [exits.of_state(run.state, timed_out=run.timed_out) for run in runs] if exit_status else []
    code = max(codes, default=exits.OK)
    return rows(runs, alone=alone, code=code)


def _watched(session: Session, client: Client, run_ids: Sequence[str], *, exit_status: bool) -> Found:
    """Return the changes of runs until all have ended; a run that needs a person counts as ended."""
    from aiki_cli.commands.status_watch import views
    from aiki_cli.view.found import Changes
    from aiki_cli.view.run_board import RunBoard
    from aiki_cli.view.run_changes import RunChanges

    latest: dict[str, RunStatus] = {}
    left = going(run_ids)
    cancel_with(session, client, left)

    async def seen() -> AsyncGenerator[RunView, None]:
        async with aclosing(views(client, run_ids)) as followed:
            async for view in followed:
                run = view.status
                latest[run.retry_of or run.run_id] = run
                if run.ended:
                    left.pop(run.retry_of or run.run_id, None)
                yield view
                session.out.go_on()

    def now() -> Rows:
        known = [latest[run_id] for run_id in run_ids if run_id in latest]
        return _rows(known, alone=len(run_ids) == 1, exit_status=exit_status)

    return Changes(seen(), RunChanges().line, now, RunBoard(run_ids))


async def _summaries(session: Session, client: Client) -> AsyncGenerator[NamespaceSummary, None]:
    """Yield the summary as it changes, until Ctrl-C."""
    async with aclosing(client.runs.summaries()) as pushed:
        async for summary in pushed:
            yield summary
            session.out.go_on()
