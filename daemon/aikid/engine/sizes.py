"""Say what runs take up in the database: tables as they are, workflows by a sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from aiki.core.states import TERMINAL, State
from aiki.wire.messages import Storage, StorageReply, TableSize, WorkflowSize
from aiki.wire.packing import reply_room
from aiki.wire.weights import SIZE_BYTES
from aikid.engine import expiring
from aikid.engine.expiring import NO_TERMS, Terms
from aikid.store import sizes
from aikid.store.pool import Pool
from aikid.store.sizes import Sampled

Periods: TypeAlias = Callable[[str, str, str], int | None]
"""For how long runs of a workflow, a version and a state are kept, in microseconds; None for ever."""
_OTHERS: Final = frozenset(
    {"alembic_version", "retention", "routes", "schedules", "session_routes", "sessions", "slots", "sweeps"}
)
"""Tables that hold nothing of runs."""


async def storage(pool: Pool, namespace: str, request: Storage, *, room: int, terms: Terms = NO_TERMS) -> StorageReply:
    """Return the sizes of all tables, and of the namespace's largest workflows, as many as fit `room`.

    Raises Unavailable.
    """
    tables = await sizes.tables(pool)
    sampled, part = await sizes.sample(pool)
    routes = sorted({(one.namespace, one.workflow, one.version) for one in sampled if one.namespace == namespace})
    known = await expiring.told(pool, routes, terms)

    def kept_for(workflow: str, version: str, state: str) -> int | None:
        periods = known.get((namespace, workflow, version), terms.periods)
        return periods.of(State(state)) or None

    found = workflows(sampled, namespace, part=part, held=_held(tables), kept_for=kept_for)
    most = min(request.most, reply_room(room) // SIZE_BYTES - len(tables))
    count = sum(one.runs for one in sampled)
    return StorageReply(tables, found[:most], count, round(count / part), is_whole=part == 1)


def _held(tables: Sequence[TableSize]) -> int:
    """Return the bytes of the tables that hold runs, and of their indexes."""
    return sum(table.bytes + table.index_bytes for table in tables if table.name not in _OTHERS)


def workflows(
    sampled: Sequence[Sampled], namespace: str, *, part: float, held: int, kept_for: Periods
) -> list[WorkflowSize]:
    """Return the namespace's workflows, the largest first: of the bytes that are `held` each has its rows' share."""
    weight = sum(one.runs * one.bytes for one in sampled)
    grown = held / weight if weight else 0.0
    runs, ended, free, size, freed = (defaultdict[str, float](float) for _ in range(5))
    for one in sampled:
        if one.namespace != namespace:
            continue
        each = one.bytes * grown
        runs[one.workflow] += one.runs / part
        size[one.workflow] += one.runs * each
        if one.state in TERMINAL:
            period = kept_for(one.workflow, one.version, one.state)
            old = 0 if period is None else sum(age > period for age in one.ages or ())
            ended[one.workflow] += one.runs / part
            free[one.workflow] += old / part
            freed[one.workflow] += old * each
    made = [
        WorkflowSize(
            name, round(runs[name]), round(size[name]), round(ended[name]), round(free[name]), round(freed[name])
        )
        for name in runs
    ]
    return sorted(made, key=lambda one: (-one.bytes, one.workflow))
