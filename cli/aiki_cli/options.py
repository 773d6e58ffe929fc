"""Own the options that every command takes, before or after its name, and the step from Typer to our session."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields
from functools import partial, wraps
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    Final,
    ParamSpec,
    TypeAlias,
    get_args,
    get_type_hints,
    overload,
)

import typer

from aiki_cli import __version__, option_sets
from aiki_cli.protection import agree
from aiki_cli.running import finish
from aiki_cli.session import Common, Session
from aiki_cli.view.output import Mode
from aiki_cli.words import suggestions

if TYPE_CHECKING:
    from aiki_cli.running import Result
    from aiki_cli.view.found import Found

P = ParamSpec("P")
Body: TypeAlias = "Callable[Concatenate[Session, P], Result | Coroutine[Any, Any, Found]]"
"""What a command does."""

_PANEL: Final = "Everywhere"
_MANIFEST: Final = "The manifest; else aiki.yaml upward. (AIKI_MANIFEST)"

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Where Aiki is. (AIKI_URL)", rich_help_panel=_PANEL),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", metavar="NAME", help="Whose runs. (AIKI_NAMESPACE)", rich_help_panel=_PANEL),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="A profile of the manifest, or of yours. (AIKI_PROFILE)",
        autocompletion=suggestions.profiles,
        rich_help_panel=_PANEL,
    ),
]
Creds = Annotated[
    str | None,
    typer.Option("--creds", metavar="FILE", help="Credentials for NATS. (AIKI_CREDS)", rich_help_panel=_PANEL),
]
TlsCa = Annotated[
    str | None,
    typer.Option(
        "--tls-ca", metavar="FILE", help="Who signs NATS's certificate. (AIKI_TLS_CA)", rich_help_panel=_PANEL
    ),
]
TlsCert = Annotated[
    str | None,
    typer.Option("--tls-cert", metavar="FILE", help="Our own certificate. (AIKI_TLS_CERT)", rich_help_panel=_PANEL),
]
TlsKey = Annotated[
    str | None,
    typer.Option("--tls-key", metavar="FILE", help="Its key. (AIKI_TLS_KEY)", rich_help_panel=_PANEL),
]
File = Annotated[
    Path | None,
    typer.Option(
        "-f",
        "--file",
        metavar="FILE",
        help=_MANIFEST,
        rich_help_panel=_PANEL,
    ),
]
Manifest = Annotated[Path | None, typer.Option("-f", metavar="FILE", help=_MANIFEST, rich_help_panel=_PANEL)]
OutputMode = Annotated[
    Mode | None,
    typer.Option(
        "-o", "--output", envvar="AIKI_OUTPUT", show_envvar=False, help="What stdout carries.", rich_help_panel=_PANEL
    ),
]
StartTimeout = Annotated[
    str | None,
    typer.Option(
        "--start-timeout",
        metavar="30s",
        help="Wait so long until NATS and aikid are there. (AIKI_START_TIMEOUT)",
        rich_help_panel=_PANEL,
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing on stderr but errors.", rich_help_panel=_PANEL)]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B",
        help="Which columns, in which order.",
        autocompletion=suggestions.columns,
        rich_help_panel=_PANEL,
    ),
]


def root(
    ctx: typer.Context,
    url: Url = None,
    namespace: Namespace = None,
    profile: Profile = None,
    creds: Creds = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    file: File = None,
    output: OutputMode = None,
    quiet: Quiet = False,
    start_timeout: StartTimeout = None,
    columns: Columns = None,
    version: Annotated[bool, typer.Option("-V", "--version", help="Show the version.")] = False,
) -> None:
    """Keep the options given before the command's name, for the command to take up."""
    if version:
        typer.echo(f"aiki {__version__}")
        raise typer.Exit
    group(ctx)
    keys = (creds, tls_ca, tls_cert, tls_key)
    ctx.obj = Common(url, namespace, profile, *keys, file, output, quiet, start_timeout, columns)


def group(ctx: typer.Context) -> None:
    """Show the help of a group of commands, where none of them was named."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit


_YES: Final = inspect.Parameter(
    "yes",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--yes", help="Do it, unasked, where the profile is protected.")],
)
_COMMON_NAMES: Final = tuple(field.name for field in fields(Common))


def _common_parameters(*, beside: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return the common options; a command that has files of its own knows the manifest by `-f` alone."""
    hints = get_type_hints(root, include_extras=True)
    if "--file" in (word for one in beside for option in get_args(one.annotation) for word in _words(option)):
        hints["file"] = Manifest
    signature = inspect.signature(root)
    return [
        signature.parameters[name].replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name in _COMMON_NAMES
    ]


def _words(option: object) -> Sequence[object]:
    """Return what names an option: inside of Annotated Typer takes the first word for a default until it is called."""
    return [getattr(option, "default", None), *(getattr(option, "param_decls", None) or ())]


@overload
def command(body: Body[P], /) -> Callable[..., None]: ...
@overload
def command(*, changes: str, unless: Sequence[str] = ()) -> Callable[[Body[P]], Callable[..., None]]: ...
def command(body: Body[P] | None = None, /, *, changes: str = "", unless: Sequence[str] = ()) -> Callable[..., Any]:
    """Return `body` as a Typer command: with the common options; what it found is shown, its errors are exit codes.

    `changes` says what a command does that changes something ("cancel runs"), unless one of the options `unless` is
    given: where the profile is protected it asks before. One that says nothing only looks.
    """
    if body is None:
        return partial(_made, changes=changes, unless=unless)
    return _made(body, changes=changes, unless=unless)


def _made(body: Body[P], *, changes: str, unless: Sequence[str]) -> Callable[..., None]:
    # What it finds is none of Typer's business; its classes are imported when there is something.
    body.__annotations__.pop("return", None)
    own = option_sets.parameters(body)
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    takes_yes = any(parameter.name == _YES.name for parameter in own)

    @wraps(body)
    def run(**values: Any) -> None:
        ctx: typer.Context = values.pop("ctx")
        given = Common(**{name: values.pop(name) for name in _COMMON_NAMES})
        path = ctx.command_path.partition(" ")[2]
        session = Session(given.over(ctx.find_root().obj or Common()), command=path)
        asks = None
        if changes:
            yes = values[_YES.name] if takes_yes else values.pop(_YES.name)
            looks = any(values[name] for name in unless)
            asks = partial(agree, session, changes, yes=yes or looks)
        raise typer.Exit(finish(session, partial(body, session, **option_sets.arguments(body, values)), asks=asks))

    agreed = [_YES] if changes and not takes_yes else []
    parameters = [context, *own, *agreed, *_common_parameters(beside=own)]
    # Typer reads both: the signature for defaults, the annotations for types.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.changes = changes  # type: ignore[attr-defined]
    del run.__wrapped__
    return run
