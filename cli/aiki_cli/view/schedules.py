"""Own how a schedule is shown: as JSON, as cells of TSV, as a line and as a page for people."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from aiki_cli.view import firings, slots
from aiki_cli.view.documents.schedules import Firing, Schedules, ShownSchedule, WholeSchedule
from aiki_cli.view.documents.shaped import extended
from aiki_cli.view.found import End, Line, Rows
from aiki_cli.view.moments import dated, distance, length, utc
from aiki_cli.view.output import is_terminal
from aiki_cli.view.plain import to_object
from aiki_cli.view.text import lines, one_line, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aiki import ScheduleInfo, When

TSV_COLUMNS: Final = "name state when timezone workflow version next last_completed open queued served note"


def state_of(info: ScheduleInfo) -> Literal["active", "paused", "over"]:
    """Return in a word how it stands: `over` has no slot to come."""
    if info.paused:
        return "paused"
    return "active" if info.next is not None else "over"


def line(info: ScheduleInfo, shown: ShownSchedule | None = None) -> Line:
    """Return the schedule as a line, or all that is `shown` of it; its cells are TSV_COLUMNS."""
    value = shown or told(info)
    cells = {**to_object(value), "when": rule(info.when)}
    return Line(value, [cells[name] for name in TSV_COLUMNS.split()], info.name)


def told(info: ScheduleInfo) -> ShownSchedule:
    """Return what JSON says of a schedule."""
    return ShownSchedule.of(info, state=state_of(info))


def declared(info: ScheduleInfo) -> Line:
    """Return a schedule that was made or changed: its name, or all of it as JSON."""
    return Line(told(info), info.name, info.name)


def remarks(info: ScheduleInfo, done: str, *, is_talkative: bool) -> list[str]:
    """Return what to say of a schedule that was made or changed: what a person should know, and what comes next."""
    said = [] if info.served else [unserved(info)]
    if info.project is not None:
        said.append(f"it is declared in the manifest of {info.project}: the next `aiki apply` changes it back")
    if is_talkative:
        left = f"next {distance(info.next, datetime.now(UTC))}" if info.next else "it fires no more"
        said.append(f"✓ {done} {info.name}; {left}: aiki schedule show {info.name}")
    return said


def listed(infos: Sequence[ScheduleInfo]) -> Rows:
    """Return a list of schedules; those that no worker serves are named beside it."""
    asides = [unserved(info) for info in infos if not info.served]
    return Rows(
        map(line, infos),
        page=lambda: [_table(infos)] if infos else [],
        document=lambda _: Schedules([told(info) for info in infos]),
        asides=asides if infos else ["no schedules"],
    )


def whole(info: ScheduleInfo, upcoming: Sequence[tuple[datetime, datetime]]) -> Rows:
    """Return all that is known of a schedule, with its next firings and its latest slots."""
    shown = extended(WholeSchedule, told(info), slots=info.slots, upcoming=[Firing(*one) for one in upcoming])
    said = None if info.served else unserved(info)
    return Rows([line(info, shown)], page=lambda: _page(info, upcoming), end=End(said=said))


def rule(when: When) -> str:
    """Return by what it fires, as it was said: the cron, the interval, the date."""
    if when.cron is not None:
        return when.cron
    return f"every {length(when.every)}" if when.every is not None else f"at {utc(when.at)}"


def _length(microseconds: int | None) -> str | None:
    return None if microseconds is None else length(timedelta(microseconds=microseconds))


def unserved(info: ScheduleInfo, *, others: int = 0) -> str:
    """Return that no worker serves what a schedule enqueues, and perhaps so many others."""
    route, more = f"{info.call.workflow} {info.call.version}", f", and {others:,} more" if others else ""
    return f"no worker serves {route}, which {info.name} enqueues{more}: aiki worker start -m MODULE"


def _table(infos: Sequence[ScheduleInfo]) -> RenderableType:
    from aiki_cli.view.drawing import columns

    now = datetime.now(UTC)
    rows = [
        [
            info.name,
            _state_text(info),
            f"{info.call.workflow} {info.call.version}",
            rule(info.when) + (f" {info.when.timezone}" if info.when.cron is not None else ""),
            distance(info.next, now) if info.next is not None else "",
            _summary(info),
        ]
        for info in infos
    ]
    titles = ["SCHEDULE", "STATE", "WORKFLOW", "WHEN", "NEXT", ""]
    return columns(rows, titles, last_is_cut=is_terminal(sys.stdout))


def _page(info: ScheduleInfo, upcoming: Sequence[tuple[datetime, datetime]]) -> list[RenderableType | str]:
    from rich.table import Table
    from rich.text import Text

    now = datetime.now(UTC)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in [*_declaration(info, now), *_standing(info, now)]:
        if value:
            facts.add_row(name, lines(value))
    title = Text(one_line(f"{_state_text(info)}  {info.name}  {info.call.workflow} {info.call.version}"))
    below: list[RenderableType | str] = []
    if upcoming:
        below += ["", firings.table(upcoming, info.when.timezone, now)]
    if info.slots:
        below += ["", slots.table(info.slots)]
    return [title, facts, *below]


def _declaration(info: ScheduleInfo, now: datetime) -> list[tuple[str, str | None]]:
    when, options = info.when, info.call.run_options
    late = "missed" if when.catch_up == "none" else f"{when.catch_up}, if not older than {length(when.window)}"
    return [
        ("when", _in_words(when)),
        ("from", dated(when.start, now)),
        ("until", dated(when.end, now)),
        ("jitter", f"less than {length(when.jitter)}" if when.jitter else None),
        ("overlap", when.overlap),
        ("late slots", late),
        ("payload", to_json(info.call.payload, indent=2) if info.call.payload else None),
        ("labels", ", ".join(f"{name}={value}" for name, value in options.labels.items())),
        ("priority", str(options.priority) if options.priority else None),
        ("run timeout", _length(options.timeout)),
        ("project", info.project),
    ]


def _standing(info: ScheduleInfo, now: datetime) -> list[tuple[str, str | None]]:
    return [
        ("paused", (info.note or "without a note") if info.paused else None),
        ("vanished", "its manifest names it no longer" if info.vanished else None),
        ("last completed", dated(info.last_completed, now)),
        ("open", f"{info.open:,} run{'' if info.open == 1 else 's'}" if info.open else None),
        ("queued", f"{info.queued:,} slot{'' if info.queued == 1 else 's'}" if info.queued else None),
    ]


def _in_words(when: When) -> str:
    """Return in words when it fires."""
    if when.cron is None:
        anchor = f", counted from {utc(when.anchor)}" if when.anchor is not None else ""
        return rule(when) + anchor
    from aiki.client.when import in_words

    return f"{when.cron}  ({in_words(when.cron)}, {when.timezone})"


def _state_text(info: ScheduleInfo) -> str:
    """Return the state with its sign: never colour alone."""
    state = state_of(info)
    return f"{_SIGNS[state]} {state}"


def _summary(info: ScheduleInfo) -> str:
    """Return what matters most about a schedule."""
    if info.vanished:
        return "its manifest names it no longer"
    if info.note:
        return info.note
    if not info.served:
        return "no worker serves it"
    going = f"{info.open:,} open" if info.open else ""
    return f"{going}, {info.queued:,} queued".removeprefix(", ") if info.queued else going


_SIGNS: Final = {"active": "◷", "paused": "‖", "over": "✓"}
