"""`aiki check`: what can be told of a manifest and its modules where there is no server: in an editor, or in CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiki import ConfigError
from aiki_cli import options
from aiki_cli.commands.modules import Modules
from aiki_cli.session import Session

if TYPE_CHECKING:
    from aiki_cli.view.found import Rows


@options.command
def check(
    session: Session,
    modules: Modules = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail it, with exit code 1.")] = False,
) -> Rows:
    """Check the manifest, import its modules, and list their workflows and when schedules fire next.

    No server is asked. TSV columns: what (workflow, schedule, warning or problem), name or place, details.
    """
    from aiki.definitions.registry import Registry
    from aiki_cli.view import checked
    from aiki_cli.words.checking import check as checked_all
    from aiki_cli.words.declared import at_hand

    if not modules and session.manifest is None:
        raise ConfigError("no module was named and no aiki.yaml was found", hint="aiki check -m myflows")
    is_only_manifest = not modules and session.manifest is not None and not session.manifest.modules
    registry = Registry() if is_only_manifest else at_hand(session, modules or (), as_served=True)
    return checked.rows(checked_all(session.manifest, registry, is_whole=not modules), is_strict=strict)
