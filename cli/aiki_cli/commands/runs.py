"""`aiki run`: list, show and history; the orders stand beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki_cli import options
from aiki_cli.commands.filters import EVERY, KeyedFilter
from aiki_cli.session import Session
from aiki_cli.words import suggestions
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client, RunFilter, RunStatus
    from aiki.client.history import HistoryEntry
    from aiki.client.runs import RunPage
    from aiki_cli.view.found import Found, Rows

PAGE_RUNS = 500
_ATTEMPTS = 100
_CHILDREN = 20
_LONG = 2_000
"""Outcomes of tasks from which on a story is read for its own sake alone."""
_TRIED = frozenset({"claim", "attempt", "retry"})
"""What a story says of tries: of the run by its workers, of its tasks, and of the workflow itself."""
_IN_VAIN = 20
"""Pages without a run that one list looks at."""


Reference = Annotated[
    str, typer.Argument(metavar="RUN", help="An id, a part of one, or workflow@key.", autocompletion=suggestions.runs)
]


@options.command
async def list_runs(
    session: Session,
    wanted: KeyedFilter = EVERY,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", metavar="TEXT", help="Go on where an earlier list ended.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Say only how many there are, up to 10,000.")] = False,
) -> Found:
    """List runs, newest first. The TSV columns are those of `aiki status`.

    What leads to runs costs what is shown, however many others there are; of several options the first that is given
    leads: --parent, --key, --key-prefix, --label, then --state with --workflow and --version, then time. By
    --key-prefix they are in the order of their keys; a key is that of the run that holds it, of a retried one the
    newest. What refines looks at 200,000 runs at most: the list says then where it goes on.
    """
    from aiki_cli.view.runs import counted, listed

    wanted.check()
    client = await session.client()
    meant = await wanted.runs(client)
    if count:
        return counted(await client.runs.count(**_words(meant)))
    found, after = await _pages(partial(client.runs.list, **_words(meant)), limit, cursor)
    if not found and after is None and meant.workflow is not None:
        await _question(session, client, meant.workflow)
    return listed(found, cursor=after, limit=limit)


def _words(meant: RunFilter) -> dict[str, Any]:
    """Return a filter as what a list is asked for."""
    words = ("states", "workflow", "labels", "since", "before", "roots", "parent", "version", "key", "key_prefix")
    return {word: getattr(meant, word) for word in (*words, "error", "worker", "priority")}


async def _pages(
    read: Callable[..., Coroutine[Any, Any, RunPage]], limit: int, cursor: str | None
) -> tuple[list[RunStatus], str | None]:
    """Return so many runs, and where there are more; of what few runs are it is not looked for among all."""
    found: list[RunStatus] = []
    in_vain = 0
    while len(found) < limit and in_vain < _IN_VAIN:
        page = await read(limit=min(limit - len(found), PAGE_RUNS), cursor=cursor)
        found += page.runs
        in_vain += not page.runs
        if (cursor := page.cursor) is None:
            break
    return found, cursor


@options.command
async def show(
    session: Session,
    reference: Reference,
    tree: Annotated[bool, typer.Option("--tree", help="Show the run with its children, and theirs.")] = False,
) -> Found:
    """Show all that is known of a run: its input, its result or error with the traceback, who has tried it, children.

    Of those who claimed it, and of the tries of tasks that failed, the last 100; of its children the last 20.

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
    from aiki_cli.view.documents.runs import ShownRun
    from aiki_cli.view.documents.shaped import extended
    from aiki_cli.view.shown import whole

    payload, tried = await _input(session, client, run_id), await _attempts(client, run)
    children = (await client.runs.list(parent=run_id, limit=_CHILDREN)).runs if run.children else []
    return whole(extended(ShownRun, run, input=payload, attempts=tried, newest_children=children))


async def _attempts(client: Client, run: RunStatus) -> Sequence[HistoryEntry] | None:
    """Return who has claimed a run, and which tries of its tasks failed; None if its story is too long for that."""
    if run.tasks > _LONG:
        return None
    last: deque[HistoryEntry] = deque(maxlen=_ATTEMPTS)
    async with aclosing(client.runs.history(run.run_id)) as told:
        async for entry in told:
            if entry.move in _TRIED:
                last.append(entry)
    return list(last)


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
