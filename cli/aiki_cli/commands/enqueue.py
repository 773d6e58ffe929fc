"""`aiki enqueue`: one run from words, or one per row of a file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki import UsageError
from aiki.definitions.options import HIGHEST_PRIORITY, OnConflict
from aiki_cli import options
from aiki_cli.commands.detaching import CancelOnInterrupt
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.inputs import payload_text
from aiki_cli.words.last import remember
from aiki_cli.words.times import moment_of

if TYPE_CHECKING:
    from aiki import Client, Handle, NamedCall
    from aiki_cli.running import Later
    from aiki_cli.view.found import Found


_INPUT = "Input"
_RUN = "The run"


@options.command(changes="enqueue runs")
def enqueue(
    session: Session,
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Its name.", autocompletion=suggestions.workflow_names)
    ],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=TEXT | NAME:=JSON]...",
            help="Members of the payload; a.b=text is nested.",
            autocompletion=suggestions.payload_members,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "-p", "--payload", metavar="JSON|@FILE|-", help="The payload; pairs override it.", rich_help_panel=_INPUT
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE|-", help="One run per row of rows.jsonl or rows.csv.", rich_help_panel=_INPUT
        ),
    ] = None,
    key_field: Annotated[
        str | None,
        typer.Option(
            "--key-field", metavar="NAME", help="The member that is each row's idempotency key.", rich_help_panel=_INPUT
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: one run per key.", rich_help_panel=_RUN)
    ] = None,
    on_conflict: Annotated[
        OnConflict,
        typer.Option("--on-conflict", help="If a run has the key.", rich_help_panel=_RUN),
    ] = "error",
    version: Annotated[
        str | None, typer.Option("--version", help="Needed if several are registered.", rich_help_panel=_RUN)
    ] = None,
    priority: Annotated[
        int, typer.Option("--priority", min=-HIGHEST_PRIORITY, max=HIGHEST_PRIORITY, rich_help_panel=_RUN)
    ] = 0,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=TEXT", help="May repeat.", rich_help_panel=_RUN)
    ] = None,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="5m", help="Start so much later.", rich_help_panel=_RUN)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="Start then: 2026-11-22T21:00, local unless it says.", rich_help_panel=_RUN
        ),
    ] = None,
    run_timeout: Annotated[
        str | None,
        typer.Option(
            "--run-timeout", metavar="1h", help="Let it fail if it has not ended by then.", rich_help_panel=_RUN
        ),
    ] = None,
    cancel_timeout: Annotated[
        str | None,
        typer.Option(
            "--cancel-timeout",
            metavar="5m",
            help="How long it may take to end when it is told to.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="1m", help="With --wait: give up waiting.")
    ] = None,
    cancel_on_interrupt: CancelOnInterrupt = False,
) -> Later:
    """Enqueue a run and print its id; with --from one per row.

    With --wait print the result, and exit as `aiki wait` does. Of rows there is a line each as its run ends: line, key,
    id, outcome, result or error; the exit code is the highest.
    """
    from aiki import NamedCall
    from aiki.manifest import seconds as seconds_of

    call = NamedCall(workflow, version=version).options(
        idempotency_key=key,
        on_conflict=on_conflict,
        priority=priority,
        labels=payload.labels_of(label or ()),
        delay=delay,
        start_at=moment_of(at, "--at"),
        timeout=run_timeout,
        cancel_timeout=cancel_timeout,
    )
    if timeout is not None and not wait:
        raise UsageError("--timeout bounds --wait, and there is none")
    if cancel_on_interrupt and not wait:
        raise UsageError("--cancel-on-interrupt is of --wait, and there is none")
    session.cancels_on_interrupt = cancel_on_interrupt
    seconds = None if timeout is None else seconds_of(timeout)
    if rows is not None:
        if base is not None or pairs or key is not None:
            raise UsageError(
                "--from takes its payloads and keys from the rows",
                hint=f"aiki enqueue {workflow} --from {rows} --key-field NAME",
            )
        from aiki_cli.commands.enqueue_rows import enqueue_rows

        return enqueue_rows(session, rows, call, key_field=key_field, wait=wait, seconds=seconds)
    if key_field is not None:
        raise UsageError("--key-field names a member of rows, and there are none", hint="--key KEY or --from FILE")

    given = {} if base is None else payload.parse_object(*payload_text(base, session.out.say))
    call = replace(call, payload=payload.with_pairs(given, pairs or ()))
    return partial(_enqueue_one, session, call, pairs=bool(pairs), wait=wait, seconds=seconds)


async def _enqueue_one(session: Session, call: NamedCall, *, pairs: bool, wait: bool, seconds: float | None) -> Found:
    client = await session.client()
    handle = await _sent(client, call, pairs=pairs)
    remember(client, handle.run_id)
    _announce(session, handle, call, wait=wait)
    if not wait:
        from aiki_cli.view.documents.enqueued import Enqueued
        from aiki_cli.view.found import Line

        return Line(Enqueued(handle.run_id, handle.created), handle.run_id, handle.run_id)
    from aiki_cli.commands.wait import wait_for

    session.note_on_interrupt = f"the run goes on: aiki wait {handle.run_id}"
    return wait_for(session, client, [handle.run_id], seconds=seconds)


async def _sent(client: Client, call: NamedCall, *, pairs: bool) -> Handle[Any]:
    with payload.explaining_pairs(has_pairs=pairs):
        (outcome,) = await client.enqueue_batch([call])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _announce(session: Session, handle: Handle[Any], call: NamedCall, *, wait: bool) -> None:
    if not session.out.talkative:
        return
    what = f"✓ enqueued {call.workflow}" if handle.created else f"= the key {call.run_options.key!r} has a run already"
    session.out.say(f"{what}; " + (f"waiting for {handle.run_id}" if wait else f"aiki status {handle.run_id} --watch"))
