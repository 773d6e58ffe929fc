"""`aiki status`: runs as they are now, or as they change; without a run, a summary of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki_cli import exits, options
from aiki_cli.following import changes
from aiki_cli.session import Session
from aiki_cli.view.output import Mode
from aiki_cli.view.runs import page, table, to_cells, to_object
from aiki_cli.view.text import to_json
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiki import Client, RunStatus


@options.command
def status(
    session: Session,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show each change until all have ended.")] = False,
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="Exit by the runs' states: as `aiki wait`, 8 if still going.")
    ] = False,
) -> int:
    """Show runs, or a summary of all.

    TSV columns: id, state, workflow, version, created_at, started_at, finished_at, due_at, attempt, tasks, key, why.
    Of the summary: workflow, version, state, runs.
    """
    if not references:
        from aiki_cli.view.summary import show_summary

        return session.run(lambda: show_summary(session, watch=watch))
    return session.run(lambda: _status(session, references, watch=watch, exit_status=exit_status))


async def _status(session: Session, references: Sequence[str], *, watch: bool, exit_status: bool) -> int:
    async with session.connect() as client:
        run_ids = await find_all(client, references)
        if watch:
            session.note_on_interrupt = f"the run goes on: aiki status {' '.join(run_ids)} --watch"
            runs = await _watch(session, client, run_ids)
        else:
            runs = await client.runs.status(run_ids)
        if not watch or session.out.mode in {Mode.JSON, Mode.IDS}:
            _show(session, runs)
    return max(exits.of_state(run.state) for run in runs) if exit_status else exits.OK


async def _watch(session: Session, client: Client, run_ids: Sequence[str]) -> list[RunStatus]:
    """Show each change until all runs have ended; a run that needs a person counts as ended."""
    latest: dict[str, RunStatus] = {}
    if not session.out.live:
        async for run in changes(client, run_ids):
            latest[run.run_id] = run
            _show_change(session, run)
            session.out.go_on()
        return [latest[run_id] for run_id in run_ids]

    from rich.live import Live

    from aiki_cli.view.output import console

    def view() -> RenderableType:
        runs = [latest[run_id] for run_id in run_ids if run_id in latest]
        return page(runs[0]) if len(run_ids) == 1 and runs else table(runs)

    with Live(get_renderable=view, console=console(), refresh_per_second=4):
        async for run in changes(client, run_ids):
            latest[run.run_id] = run
            session.out.go_on()
    return [latest[run_id] for run_id in run_ids]


def _show_change(session: Session, run: RunStatus) -> None:
    match session.out.mode:
        case Mode.JSONL:
            session.out.write(to_json(to_object(run)))
        case Mode.TSV | Mode.TABLE:
            session.out.row(to_cells(run))
        case _:
            pass  # one document, or ids, at the end


def _show(session: Session, runs: Sequence[RunStatus]) -> None:
    out = session.out
    match out.mode:
        case Mode.JSON:
            out.document(to_object(runs[0]) if len(runs) == 1 else {"runs": [to_object(run) for run in runs]})
        case Mode.TABLE:
            out.draw(page(runs[0]) if len(runs) == 1 else table(runs))
        case _:
            show_lines(session, runs)


def show_lines(session: Session, runs: Sequence[RunStatus]) -> None:
    """Write one line per run: JSON, TSV, or the id."""
    lines: dict[Mode, Any] = {
        Mode.JSONL: lambda run: session.out.write(to_json(to_object(run))),
        Mode.TSV: lambda run: session.out.row(to_cells(run)),
        Mode.IDS: lambda run: session.out.write(run.run_id),
    }
    for run in runs:
        lines[session.out.mode](run)
