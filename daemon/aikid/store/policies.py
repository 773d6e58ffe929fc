"""Own the rows of retention: what manifests say of how long ended runs are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiki.core.retention import Periods
from aiki.rules.policies import Known
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import PolicyInfo
from aikid.store import prepared
from aikid.store.arrays import Array, Blobs, Ints, Texts
from aikid.store.pool import Connection

# Primary key, in its order: those that are named, and all of the project. A namespace has no more than its workflows.
_LOCK: Final = """
SELECT r.workflow, r.project, r.periods FROM aiki.retention r
WHERE r.namespace = (%b)[1] AND (r.workflow = ANY(%b) OR r.project = (%b)[1])
ORDER BY r.workflow FOR UPDATE
"""
# What another has inserted meanwhile undoes all, which is then done again.
_INSERT: Final = """
INSERT INTO aiki.retention (namespace, workflow, project, periods)
SELECT (%b)[1], t.workflow, (%b)[1], t.periods FROM unnest(%b, %b) AS t(workflow, periods) ORDER BY t.workflow
"""
# Primary key of rows that are locked.
_UPDATE: Final = """
UPDATE aiki.retention r SET periods = t.periods FROM unnest(%b, %b) AS t(workflow, periods)
WHERE r.namespace = (%b)[1] AND r.workflow = t.workflow
"""
_DELETE: Final = "DELETE FROM aiki.retention r WHERE r.namespace = (%b)[1] AND r.workflow = ANY(%b)"
# Primary key, from behind a name.
_READ: Final = """
SELECT r.workflow, r.project, r.periods FROM aiki.retention r
WHERE r.namespace = (%b)[1] AND r.workflow > coalesce((%b)[1], '') OR r.namespace = (%b)[1] AND (%b)[1] IS NULL
ORDER BY r.namespace, r.workflow LIMIT (%b)[1]
"""


async def lock(connection: Connection, namespace: str, workflows: Sequence[str], project: str) -> dict[str, Known]:
    """Lock the policies of these workflows, and all that the project has; return them by workflow."""
    given: list[Array] = [Texts([namespace]), Texts(workflows), Texts([project])]
    rows = await prepared.rows(connection, _LOCK, given)
    return {workflow: Known(owner or "", _periods(stored)) for workflow, owner, stored in rows}


async def create(connection: Connection, namespace: str, project: str, policies: Mapping[str, Periods]) -> None:
    """Store policies that are new."""
    if policies:
        await prepared.rows(connection, _INSERT, [Texts([namespace]), Texts([project]), *_arrays(policies)])


async def update(connection: Connection, namespace: str, policies: Mapping[str, Periods]) -> None:
    """Change policies that are locked."""
    if policies:
        await prepared.rows(connection, _UPDATE, [*_arrays(policies), Texts([namespace])])


async def delete(connection: Connection, namespace: str, workflows: Sequence[str]) -> None:
    """Delete policies that are locked."""
    if workflows:
        await prepared.rows(connection, _DELETE, [Texts([namespace]), Texts(workflows)])


async def read(connection: Connection, namespace: str, after: str | None, *, limit: int) -> list[PolicyInfo]:
    """Return the policies behind that of a workflow, from the first on without one."""
    space, behind = Texts([namespace]), Texts([after])
    rows = await prepared.rows(connection, _READ, [space, behind, space, behind, Ints([limit])])
    return [PolicyInfo(workflow, owner or "", _periods(stored)) for workflow, owner, stored in rows]


def _arrays(policies: Mapping[str, Periods]) -> list[Array]:
    return [Texts(list(policies)), Blobs([encode(periods) for periods in policies.values()])]


def _periods(stored: bytes) -> Periods:
    found: Periods = decoder(Periods).decode(stored)
    return found
