"""`aiki schedule create` and `update`: a schedule is declared, whole or in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiki import UsageError
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


@options.command(changes="create a schedule")
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


@options.command(changes="change a schedule")
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
    change = _CallChange(workflow, version, given, pairs or (), told)
    return partial(_update, session, name, change, when)


@dataclass(frozen=True)
class _CallChange:
    """What was typed of the call that a schedule enqueues."""

    workflow: str | None
    version: str | None
    payload: Mapping[str, Any] | None
    pairs: Sequence[str]
    options: Mapping[str, Any]

    def __bool__(self) -> bool:
        return any((self.workflow, self.version, self.payload is not None, self.pairs, self.options))

    def of(self, call: NamedCall) -> NamedCall:
        """Return the call with that in the place of what was before. Raises UsageError, PayloadError."""
        before = call.payload if self.payload is None and self.workflow is None else self.payload or {}
        if not isinstance(before, Mapping):
            raise UsageError("its payload cannot be read, so no member of it can be changed", hint="-p JSON: all of it")
        made = payload.with_pairs(dict(before), self.pairs)
        workflow, version = self.workflow or call.workflow, self.version or (None if self.workflow else call.version)
        return replace(call, workflow=workflow, version=version, payload=made).options(**self.options)


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


async def _update(session: Session, name: str, change: _CallChange, when: Mapping[str, Any]) -> Line:
    client = await session.client()
    call = change.of((await client.schedules.get(name).info(slots=0)).call) if change else None
    with in_flags(), explaining_pairs(has_pairs=bool(change.pairs)):
        made = await client.schedules.update(name, call, **when)
    return _declared(session, made, "updated")


def _declared(session: Session, made: Schedule[Any], done: str) -> Line:
    """Return the schedule that was made or changed, and say what a person should know of it."""
    from aiki_cli.view import schedules

    assert made.seen is not None
    for said in schedules.remarks(made.seen, done, is_talkative=session.out.talkative):
        session.out.say(said)
    return schedules.declared(made.seen)
