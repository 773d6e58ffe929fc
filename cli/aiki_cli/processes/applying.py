"""Own how a manifest is applied: its schedules and how long runs are kept, in one plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiki import Client
    from aiki.client.applying import Plan
    from aiki.manifest import Manifest
    from aiki_cli.words.declared import Declarations


async def apply(
    client: Client, manifest: Manifest, declared: Declarations, *, prune: bool = False, dry_run: bool = False
) -> Plan:
    """Have all that the manifest's project owns be as declared, and return what that changes. Raises Conflict.

    What is refused of one half leaves the other as it was, too, unless somebody declares at this very moment.
    """
    from aiki.client.applying import Plan, conflict

    project = manifest.project or ""
    planned = await client.retention.apply(project, manifest.policies, prune=prune, dry_run=True)
    if dry_run:
        schedules = await client.schedules.apply(project, declared, prune=prune, dry_run=True)
    elif refused := planned.having("refused"):
        raise conflict(refused)
    else:
        schedules = await client.schedules.apply(project, declared, prune=prune)
        planned = await client.retention.apply(project, manifest.policies, prune=prune)
    return Plan(project, (*schedules.changes, *planned.changes), schedules.is_done and planned.is_done)
