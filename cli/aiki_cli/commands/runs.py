"""`aiki run`: list, show, history, pause, resume, cancel and wake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki import AikiError, Conflict, State
from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.references import find_all
from aiki_cli.words.states import states_of, unended

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.client.runs import HistoryEntry
    from aiki_cli.view.found import Found, Rows

PAGE_RUNS = 500

app = typer.Typer(name="run", help="Look at runs, and help those that need a person.")
app.callback(invoke_without_command=True)(options.group)

Reference = Annotated[
    str, typer.Argument(metavar="RUN", help="An id, a part of one, or workflow@key.", autocompletion=suggestions.runs)
]


References = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Ids, parts of ids, or workflow@key.", autocompletion=suggestions.runs),
]


@app.command("list")
@options.command
async def list_runs(
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
) -> Found:
    """List runs, newest first. The TSV columns are those of `aiki status`."""
    from aiki_cli.view.runs import listed

    states, labels, after = states_of(state or ()), payload.labels_of(label or ()), _ago(since)
    client = await session.client()
    found: list[RunStatus] = []
    cursor: str | None = None
    while len(found) < limit:
        read = await client.runs.list(
            states=states,
            workflow=workflow,
            labels=labels,
            since=after,
            limit=min(limit - len(found), PAGE_RUNS),
            cursor=cursor,
        )
        found += read.runs
        cursor = read.cursor
        if cursor is None:
            break
    if not found and workflow is not None:
        await _question(session, client, workflow)
    return listed(found, more=cursor is not None, limit=limit)


@app.command("show")
@options.command
async def show(session: Session, reference: Reference) -> Found:
    """Show all that is known of a run, with its input and its result or error."""
    from aiki_cli.view.runs import whole

    client = await session.client()
    (run_id,) = await find_all(client, [reference])
    (run,) = await client.runs.status([run_id])
    return whole(run, await _input(session, client, run_id))


@app.command("history")
@options.command
async def history(session: Session, reference: Reference) -> Found:
    """Show a run's story. TSV columns: at, event, state, key, ok, reason, actor, value."""
    from aiki_cli.view import story
    from aiki_cli.view.found import Lines

    client = await session.client()
    (run_id,) = await find_all(client, [reference])

    async def told() -> AsyncGenerator[HistoryEntry, None]:
        async for entry in client.runs.history(run_id):
            yield entry
            session.out.go_on()

    async def whole(entries: AsyncIterator[HistoryEntry]) -> Rows:
        return story.rows(run_id, [entry async for entry in entries])

    return Lines(told(), story.line, whole)


@app.command("pause")
@options.command
async def pause(session: Session, references: References) -> Found:
    """Hold runs until they are resumed. A running one lets its tasks end first, and starts no others.

    Of several each has its line; the exit code is the highest: 5 not found, 6 its state forbids it.
    """
    client = await session.client()
    run_ids = await find_all(client, references)
    return _obeyed(
        session,
        run_ids,
        await client.runs.pause_batch(run_ids, actor=_person()),
        then="let it go on: aiki run resume {}",
    )


@app.command("resume")
@options.command
async def resume(session: Session, references: References) -> Found:
    """Let paused or blocked runs go on, or end the wait before a retry.

    Of several each has its line; the exit code is the highest: 5 not found, 6 its state forbids it.
    """
    client = await session.client()
    run_ids = await find_all(client, references)
    return _obeyed(
        session,
        run_ids,
        await client.runs.resume_batch(run_ids, actor=_person()),
        then="follow it: aiki status {} --watch",
    )


@app.command("cancel")
@options.command
async def cancel(
    session: Session,
    references: References,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="10s", help="For how long to see them end; 0s does not.")
    ] = "10s",
) -> Found:
    """Cancel runs. One that has begun is told, and ends once it has taken back what it did.

    Of several each has its line; the exit code is the highest: 5 not found, 6 too late.
    """
    from aiki.manifest import seconds

    patience = seconds(wait)
    client = await session.client()
    run_ids = await find_all(client, references)
    outcomes = await client.runs.cancel_batch(run_ids, reason=reason, actor=_person())
    outcomes = await _as_they_end(client, outcomes, seconds=patience)
    return _obeyed(session, run_ids, outcomes, then="see it end: aiki wait {}")


@app.command("wake")
@options.command
async def wake(session: Session, references: References) -> Found:
    """End the sleep that goes on in runs, or their wait for a first start; never a timeout.

    Of several each has its line; the exit code is the highest: 5 not found, 6 nothing in it sleeps.
    """
    client = await session.client()
    run_ids = await find_all(client, references)
    outcomes = await client.runs.wake_batch(run_ids, actor=_person())
    return _obeyed(session, run_ids, outcomes, then="follow it: aiki status {} --watch")


async def _as_they_end(
    client: Client, outcomes: Sequence[RunStatus | AikiError], *, seconds: float
) -> Sequence[RunStatus | AikiError]:
    """Return what has come of cancels once all have ended, or after so many seconds."""
    going = [run.run_id for run in outcomes if not isinstance(run, AikiError) and run.state in unended()]
    if not going or not seconds:
        return outcomes

    async def end(run_id: str) -> None:
        with suppress(AikiError):  # how it has ended is read below
            await client.handle(run_id).result(timeout=timedelta(seconds=seconds))

    await asyncio.gather(*map(end, going))
    since = {run.run_id: run for run in await client.runs.status(going)}
    return [one if isinstance(one, AikiError) else _cancelled(since.get(one.run_id, one)) for one in outcomes]


def _cancelled(run: RunStatus) -> RunStatus | AikiError:
    if run.state is not State.CANCELLED and run.state not in unended():
        return Conflict(f"run {run.run_id} has ended {run.state}: the cancel was too late")
    return run


def _obeyed(session: Session, run_ids: Sequence[str], outcomes: Sequence[RunStatus | AikiError], *, then: str) -> Found:
    """Return what has come of an order to runs; of the only one its error is raised."""
    from aiki_cli.view.runs import moved

    if len(outcomes) == 1 and isinstance(outcomes[0], AikiError):
        raise outcomes[0]
    said = then.format(" ".join(run_ids))
    return moved(run_ids, outcomes, said=said if session.out.talkative else None)


async def _question(session: Session, client: Client, workflow: str) -> None:
    """Ask about the name of a workflow that has no runs, if it is not known and another is close to it."""
    from aiki.core.near import nearest

    names = {known.name for known in await client.workflows.list()}
    if workflow not in names and (meant := nearest(workflow, names)):
        session.out.say(f"no workflow {workflow!r} is registered: did you mean {meant!r}?")


async def _input(session: Session, client: Client, run_id: str) -> Any:
    """Return the run's input; None, with a word, if no message can bring it here."""
    from aiki import PayloadError

    try:
        return await client.runs.input(run_id)
    except PayloadError as error:
        session.out.say(f"without its input: {error.message}")
        return None


def _person() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _ago(duration: str | None) -> datetime | None:
    if duration is None:
        return None
    from aiki.manifest import seconds

    return datetime.now(UTC) - timedelta(seconds=seconds(duration))
