"""Own the part of the format that this release checks but cannot carry out: schedules.

They are checked in full before they are refused, so that a manifest for a later release shows its own mistakes first.
"""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiki.manifest import fields
from aiki.manifest.document import Node
from aiki.manifest.fields import Fields

_CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,#L?-]+")


def check_schedules(node: Node) -> None:
    """Check all schedules. Raises ConfigError at the first mistake, else at the first schedule: not yet supported."""
    places: list[Node] = []

    def name(key: Node) -> str:
        places.append(key)
        return fields.token(key)

    fields.table(name, _schedule, of="schedules by name")(node)
    for key in places[:1]:
        key.place.refuse(f"the schedule {key}: schedules are not yet supported, and expected none")


def _schedule(node: Node) -> None:
    schedule = Fields(
        node,
        "workflow",
        "version",
        "cron",
        "every",
        "timezone",
        "overlap",
        "catch_up",
        "payload",
        "labels",
        "priority",
        what="a schedule",
    )
    schedule.required("workflow", fields.token)
    schedule.optional("version", fields.version)
    if ("cron" in schedule) == ("every" in schedule):
        schedule.place.refuse("a schedule with both or none of `cron` and `every`, and expected one of them")
    schedule.optional("cron", _cron)
    schedule.optional("every", fields.duration)
    schedule.optional("timezone", _timezone)
    schedule.optional("overlap", fields.choice("skip", "queue", "cancel_previous", "allow"))
    schedule.optional("catch_up", fields.choice("none", "latest", "all"))
    schedule.optional("payload", fields.table(fields.text, fields.json, of="the payload"))
    schedule.optional("labels", fields.table(fields.text, fields.text, of="labels"))
    schedule.optional("priority", fields.integer(least=-100, most=100))


def _cron(node: Node) -> str:
    expression = fields.text(node)
    parts = expression.split()
    if len(parts) != 5 or not all(_CRON_FIELD.fullmatch(part) for part in parts):
        node.place.refuse(f'{node}, and expected five fields in quotes such as "0 2 * * *"')
    return expression


def _timezone(node: Node) -> str:
    name = fields.text(node)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.place.refuse(f"{node}, and expected an IANA time zone such as Europe/Berlin")
    return name
