"""`aiki schedule create` and `update`: a schedule is declared, whole or in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki_cli import options
from aiki_cli.commands import schedule_options as flags
from aiki_cli.session import Session
from aiki_cli.words import payload, suggestions
from aiki_cli.words.inputs import payload_text
from aiki_cli.words.payload import explaining_pairs
from aiki_cli.words.when_words import in_flags, when_words

if TYPE_CHECKING:
    from aiki import NamedCall, Schedule
    from aiki_cli.running import Later
    from aiki_cli.view.found import Line


@options.command
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="What it enqueues.", autocompletion=suggestions.workflow_names)
    ],
    pairs: flags.Pairs = None,
    base: flags.Base = None,
    cron: flags.Cron = None,
    every: flags.Every = None,
    at: flags.At = None,
    timezone: flags.Timezone = None,
    anchor: flags.Anchor = None,
    start: flags.Start = None,
    end: flags.End = None,
    jitter: flags.Jitter = None,
    overlap: flags.Overlap = None,
    catch_up: flags.CatchUp = None,
    window: flags.Window = None,
    version: flags.Version = None,
    priority: flags.Priority = None,
    label: flags.Labels = None,
    run_timeout: flags.RunTimeout = None,
    cancel_timeout: flags.CancelTimeout = None,
) -> Later:
    """Create a schedule and print its name.

    aiki schedule create nightly report scope=all --cron "0 2 * * *" --timezone Europe/Berlin

    Exit codes: 5 no such workflow, 6 the name is taken, 65 the payload does not fit.
    """
    from aiki import NamedCall

    given = {} if base is None else payload.parse_object(*payload_text(base, session.out.say))
    call = NamedCall(workflow, payload.with_pairs(given, pairs or ()), version).options(
        **_options(label, priority, run_timeout, cancel_timeout)
    )
    when = when_words(
        cron=cron,
        every=every,
        at=at,
        timezone=timezone,
        anchor=anchor,
        start=start,
        end=end,
        jitter=jitter,
        overlap=overlap,
        catch_up=catch_up,
        window=window,
    )
    return partial(_create, session, name, call, when, has_pairs=bool(pairs))


@options.command
def update(
    session: Session,
    name: flags.Name,
    pairs: flags.Pairs = None,
    base: flags.Base = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow",
            metavar="NAME",
            help="What it enqueues from now on.",
            autocompletion=suggestions.workflow_names,
        ),
    ] = None,
    cron: flags.Cron = None,
    every: flags.Every = None,
    at: flags.At = None,
    timezone: flags.Timezone = None,
    anchor: flags.Anchor = None,
    start: flags.Start = None,
    end: flags.End = None,
    jitter: flags.Jitter = None,
    overlap: flags.Overlap = None,
    catch_up: flags.CatchUp = None,
    window: flags.Window = None,
    version: flags.Version = None,
    priority: flags.Priority = None,
    label: flags.Labels = None,
    run_timeout: flags.RunTimeout = None,
    cancel_timeout: flags.CancelTimeout = None,
) -> Later:
    """Change a schedule: what is not said stays as it is.

    `none` takes back a time or a length. Pairs change members of its payload, -p takes the place of all of it, and
    labels that of all labels. It fires so from now on: what lies behind is not fired again.

    aiki schedule update nightly --cron "0 3 * * *" --end none
    """
    given = None if base is None else payload.parse_object(*payload_text(base, session.out.say))
    when = when_words(
        cron=cron,
        every=every,
        at=at,
        timezone=timezone,
        anchor=anchor,
        start=start,
        end=end,
        jitter=jitter,
        overlap=overlap,
        catch_up=catch_up,
        window=window,
    )
    told = _options(label, priority, run_timeout, cancel_timeout)
    if workflow is None and version is None and given is None and not pairs and not told:
        return partial(_update, session, name, None, when, has_pairs=False)

    def changed(call: NamedCall) -> NamedCall:
        """Return what it enqueues, with what was typed in the place of what was before."""
        before = dict(call.payload) if given is None and workflow is None else given or {}
        made = payload.with_pairs(before, pairs or ())
        route = (call.workflow, version or call.version) if workflow is None else (workflow, version)
        return replace(call, workflow=route[0], version=route[1], payload=made).options(**told)

    return partial(_update, session, name, changed, when, has_pairs=bool(pairs))


def _options(
    label: Sequence[str] | None, priority: int | None, timeout: str | None, cancel_timeout: str | None
) -> dict[str, Any]:
    """Return the options of its runs that were typed."""
    typed = {"priority": priority, "timeout": timeout, "cancel_timeout": cancel_timeout}
    labels = {} if label is None else {"labels": payload.labels_of(label)}
    return labels | {name: value for name, value in typed.items() if value is not None}


async def _create(session: Session, name: str, call: NamedCall, when: Mapping[str, Any], *, has_pairs: bool) -> Line:
    client = await session.client()
    with in_flags(), explaining_pairs(has_pairs=has_pairs):
        made = await client.schedules.create(name, call, **when)
    return _declared(session, made, "created")


async def _update(session: Session, name: str, changed: Any, when: Mapping[str, Any], *, has_pairs: bool) -> Line:
    client = await session.client()
    call = None if changed is None else changed((await client.schedules.get(name).info(slots=0)).call)
    with in_flags(), explaining_pairs(has_pairs=has_pairs):
        made = await client.schedules.update(name, call, **when)
    return _declared(session, made, "updated")


def _declared(session: Session, made: Schedule[Any], done: str) -> Line:
    """Return the schedule that was made or changed, and say what a person should know of it."""
    from aiki_cli.view import schedules

    assert made.seen is not None
    for said in schedules.remarks(made.seen, done, is_talkative=session.out.talkative):
        session.out.say(said)
    return schedules.declared(made.seen)
