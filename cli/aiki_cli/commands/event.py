"""`aiki event`: runs are sent events, those that are named or those that a filter finds."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aiki import PayloadError, UsageError
from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.event_words import EventWords, event_words
from aiki_cli.words.inputs import payload_text
from aiki_cli.words.references import find_all

if TYPE_CHECKING:
    from aiki import Client, SendOutcome
    from aiki_cli.running import Later
    from aiki_cli.view.found import Lines

BATCH_RUNS: Final = 2_000

_MANY: Final = "Many runs, by what they are"

app = typer.Typer(name="event", help="Tell runs what has happened.")
app.callback(invoke_without_command=True)(options.group)


@app.command("send")
@options.command
def send(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN]... NAME [NAME=TEXT | NAME:=JSON]...",
            help="Whom, the event, and members of what it carries.",
            autocompletion=suggestions.event_words,
        ),
    ],
    base: Annotated[
        str | None, typer.Option("-p", "--payload", metavar="JSON|@FILE|-", help="What it carries; pairs override it.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: each run takes the event once per key.")
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="NAME", autocompletion=suggestions.workflow_names, rich_help_panel=_MANY),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="May repeat.", autocompletion=suggestions.states, rich_help_panel=_MANY),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=TEXT", help="May repeat; all must match.", rich_help_panel=_MANY),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send; without it they are only counted.", rich_help_panel=_MANY)
    ] = False,
) -> Later:
    """Send an event to runs. TSV columns, of several runs: id, outcome, why.

    aiki event send RUN approved -p '"alice"'

    aiki event send --workflow process-order --state waiting prices-changed currency=EUR --yes
    """
    given = event_words(words)
    value = given.value(None if base is None else _base(session, base))
    filters = {"workflow": workflow, "states": state or (), "labels": payload.labels_of(label or ())}
    if not any(filters.values()):
        if not given.references:
            raise UsageError("no run is named", hint=f"aiki event send RUN {given.name}")
        return partial(_send_to_named, session, given, value, key=key)
    if given.references:
        raise UsageError("name runs, or filter them: not both", hint=f"aiki event send RUN {given.name}")
    return partial(_send_to_found, session, given, value, key=key, filters=filters, yes=yes)


def _base(session: Session, source: str) -> object:
    text, name = payload_text(source, session.out.say)
    try:
        return payload.parse_json(text, name)
    except PayloadError as error:
        if text == source:
            error.hint = f"-p {shlex.quote(json.dumps(text))}   (text is JSON with its quotes)"
        raise


async def _send_to_named(session: Session, given: EventWords, value: object, *, key: str | None) -> Lines[SendOutcome]:
    client = await session.client()
    run_ids = list(dict.fromkeys(await find_all(client, given.references)))
    said = f"follow it: aiki status {run_ids[0]} --watch" if len(run_ids) == 1 and session.out.talkative else None
    return _sent(client, run_ids, given.name, value, key=key, said=said)


async def _send_to_found(
    session: Session, given: EventWords, value: object, *, key: str | None, filters: dict[str, Any], yes: bool
) -> Lines[SendOutcome]:
    client = await session.client()
    run_ids = await _found(client, filters)
    if run_ids and not yes:
        raise UsageError(
            f"{len(run_ids):,} runs would be sent {given.name!r}, and none was", hint="the same again with --yes"
        )
    key = key or _derived_key(filters, given.name, value)
    again = f"the same again sends no run the event twice; to send another: --key (this one is {key})"
    return _sent(client, run_ids, given.name, value, key=key, said=again if run_ids else "no run matches")


async def _found(client: Client, filters: dict[str, Any]) -> list[str]:
    """Return the runs that are meant; those that have ended only if their state is asked for."""
    from aiki_cli.commands.runs import PAGE_RUNS
    from aiki_cli.words.states import states_of, unended

    states = states_of(filters["states"]) or unended()
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.runs.list(
            states=states, workflow=filters["workflow"], labels=filters["labels"], limit=PAGE_RUNS, cursor=cursor
        )
        found += (run.run_id for run in page.runs)
        if (cursor := page.cursor) is None:
            return found


def _derived_key(filters: dict[str, Any], name: str, value: object) -> str:
    """Return the key that the same words have each time."""
    import hashlib

    told = json.dumps([filters, name, value], sort_keys=True)
    return f"bulk-{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}"


def _sent(
    client: Client, run_ids: Sequence[str], name: str, value: object, *, key: str | None, said: str | None
) -> Lines[SendOutcome]:
    """Return what becomes of the event, as it is sent; the exit code is the highest."""
    from aiki_cli.view import sends
    from aiki_cli.view.found import Lines

    alone = len(run_ids) == 1
    tally = sends.Tally(said)

    async def outcomes() -> AsyncGenerator[SendOutcome, None]:
        left = iter(run_ids)
        while batch := list(islice(left, BATCH_RUNS)):
            answers = await client.runs.send(batch, name, value, idempotency_key=key)
            tally.add(answers)
            for answer in answers:
                yield answer

    return Lines(outcomes(), partial(sends.line, alone=alone), end=partial(tally.end, alone=alone))
