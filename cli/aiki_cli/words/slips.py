"""Own the guess at a command or an option that was meant: slips of a letter, and `_` for `-` or a space."""

from __future__ import annotations

import re
from typing import Final

import typer
from typer.core import TyperGroup

from aiki import UsageError
from aiki.core.near import nearest
from aiki_cli.tree import paths

_NO_COMMAND: Final = re.compile(r"No such command '(?P<name>.*)'\.", re.DOTALL)
"""Typer's words for a command that is not there; it says no more of it."""


def explained(error: typer.TyperException, context: typer.Context) -> UsageError:
    """Return what `error` says of the words that were typed, with the command or option that may be meant."""
    command, path = context.command, context.command_path
    option: str | None = getattr(error, "option_name", None)
    if option is not None:
        known = [name for parameter in command.get_params(context) for name in parameter.opts if name[:2] == "--"]
        what = f"there is no option {option} of {path}"
        return UsageError(_asked(what, nearest(option, known)), hint=f"{path} --help")
    unknown = _NO_COMMAND.fullmatch(error.format_message())
    if unknown is None or not isinstance(command, TyperGroup):
        return UsageError(error.format_message(), hint=f"{path} --help")
    group = path.partition(" ")[2]
    known = [name.removeprefix(f"{group} ") for name in paths() if name.startswith(f"{group} " if group else "")]
    meant = nearest(unknown["name"], known)
    what = f"there is no command {path} {unknown['name']}"
    return UsageError(_asked(what, meant), hint=f"{path} {meant or '--help'}")


def _asked(what: str, meant: str | None) -> str:
    return what if meant is None else f"{what}: did you mean {meant}?"
