"""`aiki run`: list, show and history; the orders stand beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.references import find_all
from aiki_cli.words.states import states_of
from aiki_cli.words.times import ago

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.client.history import HistoryEntry
    from aiki.client.runs import RunPage
    from aiki_cli.view.found import Found, Rows

PAGE_RUNS = 500


Reference = Annotated[
    str, typer.Argument(metavar="RUN", help="An id, a part of one, or workflow@key.", autocompletion=suggestions.runs)
]


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
    roots: Annotated[bool, typer.Option("--roots", help="Those that no other run has started.")] = False,
    parent: Annotated[
        str | None,
        typer.Option("--parent", metavar="RUN", help="The children of this run.", autocompletion=suggestions.runs),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    count: Annotated[bool, typer.Option("--count", help="Say only how many there are, up to 10,000.")] = False,
) -> Found:
    """List runs, newest first. The TSV columns are those of `aiki status`."""
    from aiki_cli.view.runs import counted, listed

    states, labels, after = states_of(state or ()), payload.labels_of(label or ()), ago(since)
    client = await session.client()
    (family,) = await find_all(client, [parent]) if parent is not None else [None]
    if count:
        return counted(
            await client.runs.count(
                states=states, workflow=workflow, labels=labels, since=after, roots=roots, parent=family
            )
        )
    read = partial(
        client.runs.list, states=states, workflow=workflow, labels=labels, since=after, roots=roots, parent=family
    )
    found, more = await _pages(read, limit)
    if not found and workflow is not None:
        await _question(session, client, workflow)
    return listed(found, more=more, limit=limit)


async def _pages(read: Callable[..., Coroutine[Any, Any, RunPage]], limit: int) -> tuple[list[RunStatus], bool]:
    """Return so many runs, and whether there are more."""
    found: list[RunStatus] = []
    cursor: str | None = None
    while len(found) < limit:
        page = await read(limit=min(limit - len(found), PAGE_RUNS), cursor=cursor)
        found += page.runs
        if (cursor := page.cursor) is None:
            break
    return found, cursor is not None


@options.command
async def show(
    session: Session,
    reference: Reference,
    tree: Annotated[bool, typer.Option("--tree", help="Show the run with its children, and theirs.")] = False,
) -> Found:
    """Show all that is known of a run, with its input and its result or error.

    With --tree, and as JSON nested: of each run its last 20 children, and how many others there are; TSV as
    `aiki status`, each run before its children.
    """
    client = await session.client()
    (run_id,) = await find_all(client, [reference])
    (run,) = await client.runs.status([run_id], follow=False)
    if tree:
        from aiki_cli.commands import family
        from aiki_cli.view.tree import rows

        return rows(await family.read(client, run))
    from aiki_cli.view.runs import whole

    return whole(run, await _input(session, client, run_id))


@options.command
async def history(session: Session, reference: Reference) -> Found:
    """Show a run's story, and why it does not move now.

    TSV columns: at, move, state, key, ok, reason, actor, value, started_at, worker, arguments.
    """
    from aiki_cli.view import story
    from aiki_cli.view.found import Lines

    client = await session.client()
    (run_id,) = await find_all(client, [reference])

    async def told() -> AsyncGenerator[HistoryEntry, None]:
        async for entry in client.runs.history(run_id):
            yield entry
            session.out.go_on()

    async def whole(entries: AsyncIterator[HistoryEntry]) -> Rows:
        told = [entry async for entry in entries]
        (run,) = await client.runs.status([run_id], follow=False)
        return story.rows(run_id, told, why=None if run.ended else run.why)

    return Lines(told(), story.line, whole)


async def _question(session: Session, client: Client, workflow: str) -> None:
    """Ask about the name of a workflow that has no runs, if it is not known and another is close to it."""
    from aiki.core.near import nearest

    names = {known.name for known in await client.workflows.list(standing=False)}
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
