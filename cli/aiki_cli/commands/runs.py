"""`aiki run`: list, show, history and resume."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki_cli import exits, options
from aiki_cli.commands.status import show_lines
from aiki_cli.session import Session
from aiki_cli.view import story as story_view
from aiki_cli.view.output import Mode
from aiki_cli.view.runs import page, state_text, table, to_object
from aiki_cli.view.text import to_json
from aiki_cli.words import payload, suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.client.runs import HistoryEntry

PAGE_RUNS = 500

app = typer.Typer(name="run", help="Look at runs, and help those that need a person.")
app.callback(invoke_without_command=True)(options.group)

Reference = Annotated[
    str, typer.Argument(metavar="RUN", help="An id, a part of one, or workflow@key.", autocompletion=suggestions.runs)
]


@app.command("list")
@options.command
def list_runs(
    session: Session,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="May repeat.", autocompletion=suggestions.states)
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="NAME", autocompletion=suggestions.workflow_names)
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=TEXT", help="May repeat; all must match.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="1h", help="Enqueued at most so long ago.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
) -> int:
    """List runs, newest first. The TSV columns are those of `aiki status`."""
    filters = {
        "states": _states(state or ()),
        "workflow": workflow,
        "labels": payload.labels_of(label or ()),
        "since": _ago(since),
    }
    return session.run(lambda: _list(session, filters, limit))


@app.command("show")
@options.command
def show(session: Session, reference: Reference) -> int:
    """Show all that is known of a run, with its input and its result or error."""
    return session.run(lambda: _run_with_input(session, reference))


@app.command("history")
@options.command
def history(session: Session, reference: Reference) -> int:
    """Show a run's story. TSV columns: at, event, state, key, ok, reason, actor, value."""
    return session.run(lambda: _history(session, reference))


@app.command("resume")
@options.command
def resume(session: Session, reference: Reference) -> int:
    """Queue a blocked run again, or end the wait before a retry."""
    return session.run(lambda: _resume(session, reference))


async def _list(session: Session, filters: dict[str, Any], limit: int) -> int:
    out = session.out
    found: list[RunStatus] = []
    cursor: str | None = None
    async with session.connect() as client:
        while len(found) < limit:
            read = await client.runs.list(**filters, limit=min(limit - len(found), PAGE_RUNS), cursor=cursor)
            found += read.runs
            cursor = read.cursor
            if cursor is None:
                break
        if not found and filters["workflow"] is not None:
            await _question(session, client, filters["workflow"])
    match out.mode:
        case Mode.JSON:
            out.document({"runs": [to_object(run) for run in found], "more": cursor is not None})
        case Mode.TABLE:
            if found:
                out.draw(table(found))
            else:
                out.say("no runs")
            if cursor is not None:
                out.say(f"there are more: aiki run list --limit {limit * 10}")
        case _:
            show_lines(session, found)
    return exits.OK


async def _question(session: Session, client: Client, workflow: str) -> None:
    """Ask about the name of a workflow that has no runs, if it is not known and another is close to it."""
    from aiki.core.near import nearest

    names = {known.name for known in await client.workflows.list()}
    if workflow not in names and (meant := nearest(workflow, names)):
        session.out.say(f"no workflow {workflow!r} is registered: did you mean {meant!r}?")


async def _run_with_input(session: Session, reference: str) -> int:
    async with session.connect() as client:
        (run_id,) = await find_all(client, [reference])
        (run,) = await client.runs.status([run_id])
        payload = await _input(session, client, run_id)
    match session.out.mode:
        case Mode.JSON:
            session.out.document({**to_object(run), "input": payload})
        case Mode.JSONL:
            session.out.write(to_json({**to_object(run), "input": payload}))
        case Mode.TABLE:
            session.out.draw(page(run, payload=payload))
            if run.error is not None and run.error.traceback:
                session.out.write(f"\n{run.error.traceback.rstrip()}")
        case _:
            show_lines(session, [run])
    return exits.OK


async def _input(session: Session, client: Client, run_id: str) -> Any:
    """Return the run's input; None, with a word, if no message can bring it here."""
    from aiki import PayloadError

    try:
        return await client.runs.input(run_id)
    except PayloadError as error:
        session.out.say(f"without its input: {error.message}")
        return None


async def _history(session: Session, reference: str) -> int:
    async with session.connect() as client:
        (run_id,) = await find_all(client, [reference])
        entries = client.runs.history(run_id)
        if session.out.mode is Mode.JSON:
            session.out.document({"id": run_id, "history": [story_view.to_object(entry) async for entry in entries]})
        elif session.out.mode is Mode.TABLE:
            session.out.draw(story_view.table([entry async for entry in entries]))
        else:
            async for entry in entries:
                _entry_line(session, entry)
                session.out.go_on()
    return exits.OK


def _entry_line(session: Session, entry: HistoryEntry) -> None:
    if session.out.mode is Mode.JSONL:
        session.out.write(to_json(story_view.to_object(entry)))
    elif session.out.mode is Mode.TSV:
        session.out.row(story_view.to_cells(entry))


async def _resume(session: Session, reference: str) -> int:
    async with session.connect() as client:
        (run_id,) = await find_all(client, [reference])
        run = await client.runs.resume(run_id, actor=_person())
    match session.out.mode:
        case Mode.JSON:
            session.out.document(to_object(run))
        case Mode.TABLE:
            session.out.write(f"{state_text(run.state)}  {run.workflow} {run.version}  {run.run_id}")
        case _:
            show_lines(session, [run])
    if session.out.talkative:
        session.out.say(f"follow it: aiki status {run_id} --watch")
    return exits.OK


def _person() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _states(names: list[str] | tuple[()]) -> list[Any]:
    from aiki import State, UsageError
    from aiki.core.near import did_you_mean

    wanted = [name for given in names for name in given.split(",")]
    known = [str(state) for state in State]
    for name in wanted:
        if name not in known:
            meant = did_you_mean(name, known, otherwise=f"expected one of {', '.join(known)}")
            raise UsageError(f"{name!r} is no state: {meant}")
    return [State(name) for name in wanted]


def _ago(duration: str | None) -> datetime | None:
    if duration is None:
        return None
    from aiki.manifest import seconds

    return datetime.now(UTC) - timedelta(seconds=seconds(duration))
