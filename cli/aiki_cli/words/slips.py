"""Own what is said of a command or an option that is not there: the one that was meant, in a line to be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from typing import Final

import typer
from typer.core import TyperGroup

from aiki import UsageError
from aiki.core.near import nearest
from aiki_cli.words.synonyms import OPTIONS

_NO_COMMAND: Final = re.compile(r"No such command '(?P<name>.*)'\.", re.DOTALL)
"""Typer's words for a command that is not there; it says no more of it."""
_LINE_CHARS: Final = 1_000
"""Of a hint: a payload may stand among the words."""


def explained(error: typer.TyperException, context: typer.Context, arguments: Sequence[str]) -> UsageError:
    """Return what `error` says of the `arguments`, with the command or option that may be meant."""
    path = context.command_path
    option: str | None = getattr(error, "option_name", None)
    if option is not None:
        return _of_option(option, context, arguments)
    unknown = _NO_COMMAND.fullmatch(error.format_message())
    if unknown is None or not isinstance(context.command, TyperGroup):
        return UsageError(error.format_message(), hint=f"{path} --help")
    return _of_command(unknown["name"], context, arguments)


def _of_command(name: str, context: typer.Context, arguments: Sequence[str]) -> UsageError:
    from aiki_cli.words.meant import meant_by

    path = context.command_path
    group = path.split()[1:]
    options = [one for one in context.find_root().command.get_params(context) if not getattr(one, "is_flag", False)]
    start = _place([*group, name][0], {name for option in options for name in option.opts}, arguments)
    # Typer may have read the word otherwise than it stands there.
    before, typed = (arguments[:start], arguments[start:]) if start < len(arguments) else ([], [*group, name])
    meant = meant_by(typed)
    what = f"there is no command {path} {name}"
    if meant is None:
        return UsageError(what, hint=f"{path} --help")
    command, rest = meant
    short = command[len(group) :] if [*command[: len(group)]] == group else command
    program = [] if command[0] == "aikid" else ["aiki", *before]
    return UsageError(f"{what}: did you mean {' '.join(short)}?", hint=_pasted([*program, *command], rest))


def _pasted(words: Sequence[str], rest: Sequence[str]) -> str:
    """Return the words as a line for a shell; what would make it long is left out."""
    whole = shlex.join([*words, *rest])
    return whole if len(whole) <= _LINE_CHARS else f"{shlex.join(words)} ..."


def _place(word: str, takes_value: Collection[str], arguments: Sequence[str]) -> int:
    """Return where the word stands, behind the options that belong to `aiki` itself, and their values."""
    place = 0
    while place < len(arguments) and arguments[place] != word:
        place += 2 if arguments[place] in takes_value else 1
    return place


def _of_option(option: str, context: typer.Context, arguments: Sequence[str]) -> UsageError:
    path = context.command_path
    known = [name for parameter in context.command.get_params(context) for name in parameter.opts]
    others = (meant for meant in OPTIONS.get(option, ()) if meant.split()[0] in known)
    meant = next(others, None) or nearest(option, [name for name in known if name[:2] == "--"])
    what = f"there is no option {option} of {path}"
    if meant is None:
        return UsageError(what, hint=f"{path} --help")
    mended = [word for one in arguments for word in _mended(one, option, meant)]
    hint = f"{path} --help" if mended == [*arguments] else _pasted(["aiki"], mended)
    return UsageError(f"{what}: did you mean {meant}?", hint=hint)


def _mended(word: str, option: str, meant: str) -> list[str]:
    """Return the words for one that may be the option that is not there, with or without its value."""
    name, sign, value = word.partition("=")
    if name != option:
        return [word]
    return [meant + sign + value] if sign and " " not in meant else meant.split()
