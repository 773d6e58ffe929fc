"""Own what the manifest says of schedules: which workflow each fires, when, and with what.

They are checked as far as that goes without their workflows; whether a payload fits is seen where these are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, get_args

from aiki.core.errors import UsageError
from aiki.core.moments import SECOND, to_wire
from aiki.definitions.options import HIGHEST_PRIORITY
from aiki.manifest import fields
from aiki.manifest.document import Node, Place
from aiki.manifest.fields import Fields
from aiki.wire.limits import SCHEDULES
from aiki.wire.messages.schedules import CatchUp, Overlap, Spec

_TIMES: Final = ("cron", "every", "at")
_WORDS: Final = ("timezone", "anchor", "overlap", "catch_up", "catch_up_window", "jitter", "start", "end")
_OPTIONS: Final = ("labels", "priority", "timeout")
_ASSIGNED: Final = re.compile(r"\b(\w+)=(?=\")")
_NAMED: Final = re.compile(r"\b(\w+)=(?!\")")


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule as the manifest has it."""

    place: Place
    workflow: str
    version: str | None
    """None: the one that there is."""
    payload: Mapping[str, Any]
    spec: Spec
    options: Mapping[str, Any]
    """Those of its runs, by the words of `.options(...)`."""


Schedules = Mapping[str, Declared]
"""By their names."""


def read(node: Node, *, has_owner: bool) -> Schedules:
    """Return what `schedules` says. Raises ConfigError at a mistake, or if the manifest has no project to own them."""
    found = fields.table(fields.token, _schedule, of="schedules by name")(node)
    if len(found) > SCHEDULES:
        node.place.refuse(f"{len(found):,} schedules, and expected at most {SCHEDULES:,}")
    if found and not has_owner:
        node.place.refuse(
            "schedules without a `project`, and expected one: it says whose they are", hint="project: NAME"
        )
    return found


def _schedule(node: Node) -> Declared:
    known = ("workflow", "version", "payload", *_TIMES, *_WORDS, *_OPTIONS)
    schedule = Fields(node, *known, what="a schedule")
    return Declared(
        node.place,
        workflow=schedule.required("workflow", fields.token),
        version=schedule.optional("version", fields.version),
        payload=schedule.optional("payload", fields.table(fields.text, fields.json, of="the payload")) or {},
        spec=_spec(schedule),
        options=_options(schedule),
    )


def _spec(schedule: Fields) -> Spec:
    _check_times(schedule)
    given = {
        "cron": schedule.optional("cron", _cron),
        "every": schedule.optional("every", fields.microseconds),
        "at": schedule.optional("at", _moment),
        "timezone": schedule.optional("timezone", _timezone),
        "anchor": schedule.optional("anchor", _moment),
        "start": schedule.optional("start", _moment),
        "end": schedule.optional("end", _moment),
        "jitter": schedule.optional("jitter", fields.microseconds),
        "overlap": schedule.optional("overlap", fields.choice(*get_args(Overlap))),
        "catch_up": schedule.optional("catch_up", fields.choice(*get_args(CatchUp))),
        "window": schedule.optional("catch_up_window", fields.microseconds),
    }
    made: Any = {name: value for name, value in given.items() if value is not None}
    return _checked(Spec(**made), schedule.place)


def _check_times(schedule: Fields) -> None:
    if sum(word in schedule for word in _TIMES) != 1:
        schedule.place.refuse("a schedule that fires by one of `cron`, `every` and `at` alone, and expected just one")
    for word, needed in (("timezone", "cron"), ("anchor", "every")):
        if word in schedule and needed not in schedule:
            schedule.place.refuse(f"a schedule with `{word}` and without `{needed}`, and expected both or neither")


def _options(schedule: Fields) -> dict[str, Any]:
    given = {
        "labels": schedule.optional("labels", fields.table(fields.token, fields.text, of="labels")),
        "priority": schedule.optional("priority", fields.integer(least=-HIGHEST_PRIORITY, most=HIGHEST_PRIORITY)),
        "timeout": schedule.optional("timeout", _span),
    }
    return {name: value for name, value in given.items() if value is not None}


def _cron(node: Node) -> str:
    cron = fields.text(node)
    _checked(Spec(cron=cron), node.place)
    return cron


def _timezone(node: Node) -> str:
    name = fields.text(node)
    _checked(Spec(every=SECOND, timezone=name), node.place)
    return name


def _checked(spec: Spec, place: Place) -> Spec:
    """Return the spec. Raises ConfigError, in the words of the rules, if there is none such or it never fires."""
    from aiki.rules.calendar import check_spec  # most manifests have no schedules, and need no calendar

    try:
        check_spec(spec)
    except UsageError as error:
        place.refuse(error.message, hint=error.hint and _as_written_here(error.hint))
    return spec


def _as_written_here(hint: str) -> str:
    """Return a hint for a call in Python as one for the manifest: `cron: "0 2 * * *"`."""
    return _NAMED.sub(r"`\1`", _ASSIGNED.sub(r"\1: ", hint))


def _moment(node: Node) -> int:
    value = fields.text(node)
    try:
        return to_wire(datetime.fromisoformat(value), what="a time")
    except (ValueError, UsageError):
        node.place.refuse(f'{node}, and expected a time with its offset such as "2026-12-31T23:00:00+01:00"')


def _span(node: Node) -> timedelta:
    return timedelta(microseconds=fields.microseconds(node))
