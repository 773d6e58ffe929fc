"""Own how the grammar of TAB is made from the commands: `python -m aiki_cli.tab.writing` writes it anew."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from pprint import pformat
from textwrap import shorten
from typing import Any, Final, get_args

from aiki import State
from aiki_cli import options
from aiki_cli.app import build
from aiki_cli.view.columns import COLUMNS, kinds

FILE: Final = Path(__file__).with_name("grammar.py")
PLACE: Final = ("url", "namespace", "profile", "creds", "tls_ca", "tls_cert", "tls_key", "file")
"""The options that say which daemon is meant."""
_HEAD: Final = '''"""The grammar of `aiki`, for TAB: made from the commands by `make completions`; a test compares."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Option = tuple[tuple[str, ...], str, str]
    """Its names, the kind of its value (none for a flag, and + where it may be given again), and what it does."""
    Command = tuple[str, tuple[Option, ...], tuple[str, ...], tuple[str, ...]]
    """What it does, its own options, the commands below it, and the kinds of its arguments."""

'''

ABOUT_CHARS: Final = 72

Option = tuple[tuple[str, ...], str, str]
Command = tuple[str, tuple[Option, ...], tuple[str, ...], tuple[str, ...]]


def grammar() -> str:
    """Return the text of the module."""
    root = build(markup=False)
    common = [_option(one, options.root) for one in root.params if one.name != "version"]
    common.append((("--help",), "", "Show what it does"))
    place = tuple(one.opts[0] for one in root.params if one.name in PLACE)
    commands = {"": _command(root, common), **dict(_commands(root, "", common))}
    text = [
        _HEAD,
        _assigned("COMMON", "tuple[Option, ...]", tuple(common)),
        _assigned("PLACE", "tuple[str, ...]", place),
        _assigned("STATES", "tuple[str, ...]", tuple(map(str, State))),
        _assigned("COLUMNS", "dict[str, tuple[str, ...]]", {name: _columns(name) for name in COLUMNS}),
        _assigned("COMMANDS", "dict[str, Command]", commands),
    ]
    return "\n".join(text)


def _columns(command: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for kind in kinds(command) for name in kind))


def _assigned(name: str, annotation: str, value: object) -> str:
    return f"{name}: {annotation} = {pformat(value, width=116, sort_dicts=False)}\n"


def _commands(group: Any, before: str, common: Sequence[Option]) -> Iterator[tuple[str, Command]]:
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{before}{name}", _command(command, common)
            if hasattr(command, "commands"):
                yield from _commands(command, f"{before}{name} ", common)


def _command(command: Any, common: Sequence[Option]) -> Command:
    below = tuple(name for name, one in getattr(command, "commands", {}).items() if not one.hidden)
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    own = [_option(one, command.callback) for one in shown if one.param_type_name == "option"]
    arguments = [_kind(one, command.callback) for one in shown if one.param_type_name == "argument"]
    about = _short(command.get_short_help_str(1_000))
    return about, tuple(one for one in own if one not in common), below, tuple(arguments)


def _option(parameter: Any, function: Callable[..., object]) -> Option:
    names = (*parameter.opts, *parameter.secondary_opts)
    kind = "" if parameter.is_flag or parameter.count else _kind(parameter, function)
    return names, kind, _short(parameter.help or "")


def _short(about: str) -> str:
    return shorten(about.rstrip("."), ABOUT_CHARS, placeholder=" …")


def _kind(parameter: Any, function: Callable[..., object]) -> str:
    """Return the kind of a parameter's value: what its function says of it, or what is seen of its type."""
    metavar = parameter.metavar or ""
    if marked := _marked(parameter.name, function):
        kind = marked
    elif choices := getattr(parameter.type, "choices", None):
        kind = f"words:{' '.join(map(str, choices))}"
    elif "@FILE" in metavar:
        kind = "payload"
    elif "FILE" in metavar or "DIR" in metavar or parameter.type.name in {"path", "file"}:
        kind = "files"
    else:
        kind = "any"
    return f"{kind}+" if parameter.nargs == -1 or getattr(parameter, "multiple", False) else kind


def _marked(name: str, function: Callable[..., object]) -> str | None:
    annotation = inspect.signature(function, eval_str=True).parameters[name].annotation
    for word in get_args(annotation)[1:]:
        if (kind := getattr(word, "autocompletion", None)) is not None:
            return str(kind.__name__)
    return None


if __name__ == "__main__":
    FILE.write_text(grammar())
