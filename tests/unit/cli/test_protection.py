"""Each command either says what it changes, or only looks: a protected profile asks before the first kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiki_cli.app import build

LOOKS = {
    *("status", "wait", "why", "check", "replay", "completion", "help"),
    *("run list", "run show", "run history", "run export", "worker list", "workflow list", "workflow show"),
    *("config show", "config profiles"),
    *("schedule list", "schedule show", "schedule next"),
    # It changes nothing but what is its own: wherever a profile leads, it serves on this machine.
    "dev",
}


def leaves(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield before + name, command


def test_each_command_either_says_what_it_changes_or_is_known_to_look_only() -> None:
    commands = dict(leaves(build(markup=False)))
    silent = {name for name, command in commands.items() if not command.callback.changes}
    assert silent == LOOKS
    for name, command in commands.items():
        takes_yes = any("--yes" in parameter.opts for parameter in command.params)
        assert takes_yes is (name not in LOOKS), name
