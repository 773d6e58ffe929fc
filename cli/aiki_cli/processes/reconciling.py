"""Own what a worker does about what its manifest declares: that of `aiki dev` applies them, others tell what differs.

A worker that is deployed never changes them: while old and new ones run side by side, they would flip.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiki_cli.failures import describe
from aiki_cli.processes.applying import apply
from aiki_cli.view import plans
from aiki_cli.words.declared import declarations

if TYPE_CHECKING:
    from aiki import Client
    from aiki.client.applying import Plan
    from aiki.definitions.registry import Registry
    from aiki.manifest import Manifest

_log = logging.getLogger("aiki.schedules")


async def reconcile(manifest: Manifest | None, client: Client, registry: Registry, *, applies: bool) -> None:
    """Apply the manifest's schedules, with a line for each that changes; or tell in one line that some differ."""
    if manifest is None or manifest.project is None or not (applies or manifest.schedules or manifest.policies):
        return
    try:
        declared = declarations(manifest, registry)
        plan = await apply(client, manifest, declared, dry_run=not applies)
    except Exception as error:  # noqa: BLE001 - whatever becomes of this, the worker serves
        _tell_refused(error, applies=applies)
    else:
        _tell(manifest, plan)


def _tell(manifest: Manifest, plan: Plan) -> None:
    if plan.is_done:
        for line in plans.lines(plan):
            _log.info("applied: %s", line)
    elif plan.pending:
        kinds = sorted({"schedules" if change.kind == "schedule" else "retention" for change in plan.pending})
        what = f"project {plan.project!r} has other {' and '.join(kinds)} than {manifest.file}"
        _log.warning("%s: %s by `aiki apply`", what, plans.counted(plan.pending))


def _tell_refused(error: Exception, *, applies: bool) -> None:
    """Log why nothing is applied. Whoever only looks is no place to learn that it cannot be."""
    _, message, hint = describe(error)
    if applies:
        _log.error("schedules are not applied: %s%s", message, f" ({hint})" if hint else "")
    else:
        _log.debug("whether schedules differ from the manifest is not known: %s", message)
