"""Own the names of all commands, and where each one stands. It imports none of them.

A command is a line here, `"name": "module:function"` of `aiki_cli.commands`; a group has commands of its own. What is
called is imported when it is called: so a command costs no time to those who call another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True)
class Group:
    """Commands under one word."""

    help: str
    commands: Mapping[str, Place]


Place: TypeAlias = str | Group
"""`module:function`, or what holds such."""

COMMANDS: Final[Mapping[str, Place]] = {
    "dev": "dev:dev",
    "enqueue": "enqueue:enqueue",
    "status": "status:status",
    "wait": "wait:wait",
    "why": "why:why",
    "worker": Group("Serve workflows, and see who does.", {"start": "worker:start", "list": "worker:list_workers"}),
    "run": Group(
        "Look at runs, and help those that need a person.",
        {
            "list": "runs:list_runs",
            "show": "runs:show",
            "history": "runs:history",
            "export": "exports:export",
            "import": "exports:import_",
            "pause": "orders:pause",
            "resume": "orders:resume",
            "cancel": "orders:cancel",
            "wake": "orders:wake",
            "retry": "retry:retry",
            "move": "move:move",
            "delete": "delete:delete",
        },
    ),
    "event": Group("Tell runs what has happened.", {"send": "event:send"}),
    "schedule": Group(
        "Have workflows run by the calendar.",
        {
            "list": "schedules:list_schedules",
            "show": "schedules:show",
            "next": "schedules:upcoming",
            "create": "schedule_declaring:create",
            "update": "schedule_declaring:update",
            "trigger": "schedule_firing:trigger",
            "backfill": "schedule_firing:backfill",
            "pause": "schedule_orders:pause",
            "resume": "schedule_orders:resume",
            "delete": "schedule_orders:delete",
        },
    ),
    "workflow": Group(
        "See workflows, their versions, and what is in flight of them.",
        {"list": "workflows:list_workflows", "show": "workflows:show"},
    ),
    "config": Group("See where commands connect.", {"show": "config:show", "profiles": "config:profiles"}),
    "check": "check:check",
    "apply": "apply:apply",
    "replay": "replay:replay",
    "completion": "completion:completion",
    "help": "help:help_",
}


def paths(commands: Mapping[str, Place] = COMMANDS, before: str = "") -> Iterator[str]:
    """Yield all commands and groups as they are typed, each group before its commands."""
    for name, place in commands.items():
        yield before + name
        if isinstance(place, Group):
            yield from paths(place.commands, f"{before}{name} ")
