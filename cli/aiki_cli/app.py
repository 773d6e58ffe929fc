"""Own the tree of commands. A command's module imports only Typer; what it works with is imported when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from aiki import UsageError
from aiki.process.stdout import lost
from aiki_cli import COMPLETE_VARIABLE, exits, failures, options
from aiki_cli.commands import (
    apply,
    check,
    completion,
    dev,
    enqueue,
    event,
    replay,
    runs,
    schedules,
    status,
    wait,
    why,
    worker,
    workflows,
)
from aiki_cli.failures import UnwritableOutput
from aiki_cli.view.output import Mode, is_terminal
from aiki_cli.words import slips

_HELP = """Durable workflows: enqueue runs, watch them, serve them.

    aiki dev --example hello            all of it on this machine, in one terminal

    aiki enqueue hello name=Ada --wait

    aiki status RUN --watch

    aiki why RUN                        what it waits for, and what would move it

RUN is an id, 8 or more of its first or last characters, or workflow@key.
Exit codes: 0 done, 1 failed, 3 cancelled, 7 needs a person, 69 server unreachable, 124 our timeout passed.
"""


def build(*, markup: bool) -> typer.Typer:
    """Return the command line; with `markup` its help is drawn for a screen."""
    app = typer.Typer(
        name="aiki",
        help=_HELP,
        add_completion=False,
        rich_markup_mode="rich" if markup else None,
        pretty_exceptions_enable=False,
        suggest_commands=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(options.root)
    app.command("dev")(dev.dev)
    app.command("enqueue")(enqueue.enqueue)
    app.command("status")(status.status)
    app.command("wait")(wait.wait)
    app.command("why")(why.why)
    app.add_typer(worker.app)
    app.add_typer(runs.app)
    app.add_typer(event.app)
    app.add_typer(schedules.app)
    app.add_typer(workflows.app)
    app.command("check")(check.check)
    app.command("apply")(apply.apply)
    app.command("replay")(replay.replay)
    app.command("completion")(completion.completion)
    return app


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
    if COMPLETE_VARIABLE in os.environ:
        completion.prepare()
    try:
        code = typer.main.get_command(app).main(list(arguments), prog_name="aiki", standalone_mode=False)
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
    return failures.report(slips.explained(error, context), Mode.asked(arguments))
