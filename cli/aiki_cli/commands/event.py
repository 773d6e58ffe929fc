"""`aiki event`: runs are sent events, those that are named or those that a filter finds."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aiki import PayloadError
from aiki_cli import options
from aiki_cli.commands import bulk
from aiki_cli.commands.bulk import UNHURRIED, Pace, Reach
from aiki_cli.commands.filters import UNKEYED, Filter
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.event_words import EventWords, event_words
from aiki_cli.words.inputs import payload_text
from aiki_cli.words.references import find_all
from aiki_cli.words.states import unended

if TYPE_CHECKING:
    from aiki import Client, SendOutcome
    from aiki_cli.running import Later
    from aiki_cli.view.found import Line, Lines


@options.command(changes="send events to runs")
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
    wanted: Filter = UNKEYED,
    pace: Pace = UNHURRIED,
    yes: bulk.Yes = False,
) -> Later:
    """Send an event to runs. TSV columns, of several runs: id, outcome, why."""
    given = event_words(words)
    value = given.value(None if base is None else _base(session, base))
    if wanted.is_meant(given.references, command=f"aiki event send RUN {given.name}"):
        to_found = _ToFound(given.name, value, key or _derived_key(wanted, given.name, value), wanted, pace)
        return partial(to_found.send, session, yes=yes)
    return partial(_send_to_named, session, given, value, key=key)


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
    alone = len(run_ids) == 1
    said = f"follow it: aiki status {run_ids[0]} --watch" if alone and session.out.talkative else None
    sent = _sent(client, run_ids, given.name, value, key=key)
    return _shown(Reach(sent), said=said, alone=alone)


@dataclass(frozen=True)
class _ToFound:
    """An event that is sent to the runs that a filter finds."""

    name: str
    value: object
    key: str
    wanted: Filter
    pace: Pace

    async def send(self, session: Session, *, yes: bool) -> Lines[SendOutcome]:
        """Return what becomes of it, as it is sent: each run is sent it once, however often that is typed."""
        client = await session.client()
        wanted = await self.wanted.runs(client, unended())
        await client.runs.check_event(wanted, self.name, self.value)
        found = await bulk.reach(session, client, wanted, self.pace, yes=yes, would=f"sent {self.name!r}")
        again = f"the same again sends no run the event twice; to send another: --key (this one is {self.key})"
        sent = Reach(self._sent(client, found.things), found.total, found.is_least)
        return _shown(sent, said=again, alone=False)

    async def _sent(
        self, client: Client, batches: AsyncGenerator[Sequence[str], None]
    ) -> AsyncGenerator[SendOutcome, None]:
        async with aclosing(batches):
            async for run_ids in batches:
                for outcome in await client.runs.send(run_ids, self.name, self.value, idempotency_key=self.key):
                    yield outcome


def _derived_key(wanted: Filter, name: str, value: object) -> str:
    """Return the key that the same words have each time."""
    import hashlib

    told = json.dumps([asdict(wanted), name, value], sort_keys=True)
    return f"bulk-{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}"


async def _sent(
    client: Client, run_ids: Sequence[str], name: str, value: object, *, key: str | None
) -> AsyncGenerator[SendOutcome, None]:
    # All at once: the value is checked by what each of their workflows declares before any is sent it.
    for outcome in await client.runs.send(run_ids, name, value, idempotency_key=key):
        yield outcome


def _shown(reached: Reach[SendOutcome], *, said: str | None, alone: bool) -> Lines[SendOutcome]:
    """Return what becomes of the event, as it is sent; the exit code is the highest."""
    from aiki_cli.view import sends
    from aiki_cli.view.found import Lines

    tally = sends.tally(said)

    def line(outcome: SendOutcome) -> Line:
        tally.add(sends.word(outcome), outcome.error)
        return sends.line(outcome, alone=alone)

    return Lines(
        reached.things,
        line,
        total=reached.total,
        is_least=reached.is_least,
        end=partial(tally.end, alone=alone),
        doing="send",
        unit="runs",
        named=None if alone else "runs",
    )
