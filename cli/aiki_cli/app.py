"""Own how the tree of commands becomes Typer's: of a command nothing is imported but when it is called or shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from aiki import UsageError
from aiki.process.stdout import lost
from aiki_cli import exits, failures, options
from aiki_cli.failures import UnwritableOutput
from aiki_cli.helped import Helped
from aiki_cli.tree import COMMANDS, Group, Place
from aiki_cli.view.output import Mode, is_terminal
from aiki_cli.words import slips

_HELP = """Durable workflows: enqueue runs, watch them, serve them.

    aiki dev --example hello            all of it on this machine, in one terminal

    aiki enqueue hello name=Ada --wait

    aiki status RUN --watch

    aiki why RUN                        what it waits for, or would move it

    aiki help                           exit codes, formats, payloads, schemas

RUN is an id, 8 or more of its first or last characters, or workflow@key.
Exit codes: 0 done, 1 failed, 3 cancelled, 7 needs a person, 69 server unreachable, 124 our timeout passed.
"""


class _Commands(MutableMapping[str, Any]):
    """The commands of a group, by name; each is made when it is asked for."""

    def __init__(self, places: Mapping[str, Place], *, markup: bool) -> None:
        self._places = places
        self._markup = markup
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _made(name, self._places[name], markup=self._markup)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"the command {name} stays")

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def build(*, markup: bool) -> TyperGroup:
    """Return the command line; with `markup` its help is drawn for a screen."""
    whole = Group(_HELP, COMMANDS)
    return _group("aiki", whole, markup=markup, callback=options.root)


def _made(name: str, place: Place, *, markup: bool) -> Any:
    return _group(name, place, markup=markup) if isinstance(place, Group) else _command(name, place, markup=markup)


def _group(name: str, group: Group, *, markup: bool, callback: Callable[..., None] = options.group) -> TyperGroup:
    app = _typer(name, markup=markup, help=group.help)
    app.callback(invoke_without_command=True)(callback)
    made = typer.main.get_group(app)
    made.commands = _Commands(group.commands, markup=markup)
    return made


def _command(name: str, place: str, *, markup: bool) -> Any:
    module, function = place.split(":")
    app = _typer(name, markup=markup)
    app.command(name, cls=Helped)(getattr(import_module(f"aiki_cli.commands.{module}"), function))
    return typer.main.get_command(app)


def _typer(name: str, *, markup: bool, help: str | None = None) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=help,
        add_completion=False,
        rich_markup_mode="rich" if markup else None,
        pretty_exceptions_enable=False,
        suggest_commands=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run(arguments: Sequence[str]) -> int:
    """Run `aiki` with `arguments` and return the exit code.

    A result that stdout did not take makes an error of a success; of a failure it changes nothing. A reader that has
    gone has seen enough.
    """
    code = _run(arguments)
    error = lost()
    if error is None or isinstance(error, BrokenPipeError):
        return code
    status = failures.report(UnwritableOutput(f"stdout could not be written ({error.strerror})"), Mode.asked(arguments))
    return code or status


def _run(arguments: Sequence[str]) -> int:
    # Boxes belong on a screen: in a CI log plain text reads better.
    app = build(markup=is_terminal(sys.stdout))
    try:
        code = app.main(list(arguments), prog_name="aiki", standalone_mode=False)
    except typer.Abort:
        return exits.INTERRUPTED
    except typer.TyperException as error:
        return _refused(error, arguments)
    return code if isinstance(code, int) else exits.OK


def _refused(error: typer.TyperException, arguments: Sequence[str]) -> int:
    """Report arguments that Typer could not read."""
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is None:
        return failures.report(UsageError(error.format_message(), hint="aiki --help"), Mode.asked(arguments))
    return failures.report(slips.explained(error, context, arguments), Mode.asked(arguments))
