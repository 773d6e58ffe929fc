"""`aiki workflow`: which versions there are, what is in flight of each, who serves it, and which may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aiki import NotFound
from aiki_cli import options
from aiki_cli.session import Session
from aiki_cli.words import suggestions

if TYPE_CHECKING:
    from aiki.client.workflows import WorkflowInfo
    from aiki_cli.view.found import Rows


@options.command
async def list_workflows(session: Session) -> Rows:
    """List the versions of all workflows, with their runs in flight and the workers that serve them.

    A version is served, or unserved; stranded, if runs are in flight and no live worker serves it; drained, if a later
    one is there, nothing of it is in flight and no schedule starts it: its code may go.

    TSV columns: workflow, version, standing, in_flight, workers, last_start, code_since, retention.
    """
    from aiki_cli.view import workflows

    return workflows.listed(await (await session.client()).workflows.list())


@options.command
async def show(
    session: Session,
    name: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Its name.", autocompletion=suggestions.workflow_names)
    ],
    version: Annotated[str | None, typer.Option("--version", metavar="V", help="This one alone.")] = None,
) -> Rows:
    """Show the versions of a workflow: runs in flight by state, workers, code, tasks, parameters and events.

    The TSV columns are those of `aiki workflow list`.
    """
    from aiki_cli.view import workflows

    found = await (await session.client()).workflows.list(name)
    return workflows.whole(_of_version(name, version, found))


def _of_version(name: str, version: str | None, found: list[WorkflowInfo]) -> list[WorkflowInfo]:
    if not found:
        raise NotFound(f"nothing is known of a workflow {name!r}", hint="aiki workflow list")
    if wanted := [one for one in found if version in (None, one.version)]:
        return wanted
    known = ", ".join(one.version for one in found)
    raise NotFound(
        f"workflow {name!r} has no version {version!r} (there are {known})", hint=f"aiki workflow show {name}"
    )
