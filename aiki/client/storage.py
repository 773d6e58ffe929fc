"""Own what a client sees of the room that runs take up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiki.client.wire import Wire
from aiki.wire.messages import Storage

_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table of the database, whatever namespace its rows are of."""

    name: str
    rows: int
    """As Postgres has counted them last."""
    bytes: int
    index_bytes: int

    @property
    def total_bytes(self) -> int:
        """Rows and indexes together."""
        return self.bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class WorkflowSize:
    """What the runs of a workflow take up: extrapolated, where there are many."""

    workflow: str
    runs: int
    bytes: int
    """Its share of the tables that hold runs, and of their indexes."""
    ended: int
    """How many of the runs have ended."""
    free_runs: int
    """How many of these are older than retention keeps them."""
    free_bytes: int
    """What their deletion makes room for."""


@dataclass(frozen=True, slots=True)
class StorageUse:
    """What takes up how much, the largest first."""

    tables: list[TableSize]
    workflows: list[WorkflowSize]
    """Of the namespace, a thousand at most."""
    sampled: int
    """How many runs were looked at for the workflows' figures."""
    runs: int
    """How many there are in all namespaces, as far as the sample tells."""
    exact: bool
    """Whether all runs were looked at."""

    @property
    def total_bytes(self) -> int:
        """Of all tables with their indexes."""
        return sum(table.total_bytes for table in self.tables)


async def storage(wire: Wire) -> StorageUse:
    """Return what takes up how much."""
    reply = await wire.call(Storage(_MOST))
    return StorageUse(
        [TableSize(one.name, one.rows, one.bytes, one.index_bytes) for one in reply.tables],
        [
            WorkflowSize(one.workflow, one.runs, one.bytes, one.ended, one.free_runs, one.free_bytes)
            for one in reply.workflows
        ],
        reply.sampled,
        reply.population,
        reply.is_whole,
    )
