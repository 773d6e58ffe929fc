"""`aiki apply`: what a project owns becomes what its manifest declares, by a plan that is shown before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aiki import ConfigError
from aiki_cli import exits, options
from aiki_cli.commands.bulk import agree
from aiki_cli.commands.modules import Modules
from aiki_cli.session import Session

if TYPE_CHECKING:
    from aiki.client.applying import Plan
    from aiki.definitions.registry import Registry
    from aiki.manifest import Manifest
    from aiki_cli.running import Later
    from aiki_cli.view.found import Rows
    from aiki_cli.words.declared import Declarations

SHOWN: Final = 50
"""Changes that are shown to whoever is asked."""


@options.command(changes="change schedules and retention", unless=("dry_run", "exit_code"))
def apply(
    session: Session,
    modules: Modules = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what the manifest names no longer; else it is paused.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Only say what would change, and exit with 8 if that is anything.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it, unasked; off a terminal nothing is paused or deleted without it.")
    ] = False,
) -> Later:
    """Make schedules, and how long ended runs are kept, what the manifest declares. TSV: name, change, fields, reason.

    What `retention:` says of workflow W is named retention:W, and retention:* what it says of all others.
    """
    manifest = _owned(session)
    from aiki_cli.words.declared import declarations

    declared = declarations(manifest, _at_hand(session, modules or ()))
    if dry_run or exit_code:
        return partial(_plan, session, manifest, declared, prune=prune, tells=exit_code)
    return partial(_apply, session, manifest, declared, prune=prune, yes=yes)


def _owned(session: Session) -> Manifest:
    """Return the manifest, which has a project. Raises ConfigError if there is none."""
    if session.manifest is None:
        raise ConfigError("no manifest was found, and expected an aiki.yaml with a project", hint="aiki apply -f FILE")
    if session.manifest.project is None:
        raise ConfigError(f"{session.manifest.file} has no `project`, and so nothing to apply", hint="project: NAME")
    return session.manifest


def _at_hand(session: Session, names: Sequence[str]) -> Registry:
    """Return the workflows of the modules that were named; of the manifest's those that can be imported here.

    Of others the payloads are checked against what workers have registered.
    """
    from aiki.definitions.registry import Registry
    from aiki_cli.words.declared import at_hand

    if not names and not (session.manifest and session.manifest.modules):
        return Registry()
    try:
        return at_hand(session, names)
    except ConfigError as error:
        if names:
            raise
        first, *trace = error.message.splitlines()
        why = f" ({trace[-1].strip()})" if trace else ""
        session.out.say(f"{first}{why}: payloads are checked against what workers have registered")
        return Registry()


async def _plan(session: Session, manifest: Manifest, declared: Declarations, *, prune: bool, tells: bool) -> Rows:
    from aiki_cli.processes import applying
    from aiki_cli.view import plans

    client = await session.client()
    plan = await applying.apply(client, manifest, declared, prune=prune, dry_run=True)
    return plans.rows(plan, code=exits.STILL_GOING if tells and plan.pending else exits.OK)


async def _apply(session: Session, manifest: Manifest, declared: Declarations, *, prune: bool, yes: bool) -> Rows:
    from aiki_cli.processes import applying
    from aiki_cli.view import plans

    client = await session.client()
    plan = await applying.apply(client, manifest, declared, prune=prune, dry_run=True)
    if plan.having("refused") or not plan.pending:
        return plans.rows(plan)
    await _agree(session, plan, yes=yes)
    done = await applying.apply(client, manifest, declared, prune=prune)
    schedules = await client.schedules.list(project=manifest.project)
    return plans.rows(done, unserved=[one.seen for one in schedules if one.seen and not one.seen.served])


async def _agree(session: Session, plan: Plan, *, yes: bool) -> None:
    """Return if a person agrees to the plan. Who cannot be asked has to say so before of what takes schedules away."""
    from aiki_cli.view import plans

    ends = plan.having("pause", "delete")
    if yes or not (ends or session.out.can_ask):
        return
    lines = plans.lines(plan)
    for line in lines[:SHOWN]:
        session.out.say(line)
    if len(lines) > SHOWN:
        session.out.say(f"… and {len(lines) - SHOWN:,} more: aiki apply --dry-run")
    await agree(session, plans.counted(plan.pending if session.out.can_ask else ends), yes=False)
