"""Own the messages of what runs take up in the database."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from aiki.wire.limits import SCHEDULES
from aiki.wire.messages.base import Request


class TableSize(Struct):
    """A table as the database has it now, whatever namespace its rows are of."""

    name: str
    rows: int
    """As the database has counted them last."""
    bytes: int
    """Its rows, with what of them is stored apart."""
    index_bytes: int


class WorkflowSize(Struct, omit_defaults=True):
    """What the runs of a workflow take up, extrapolated from a sample."""

    workflow: str
    runs: int
    bytes: int
    """Its share of all tables that hold runs, with their indexes."""
    ended: int = 0
    """How many of these runs have ended."""
    free_runs: int = 0
    """How many of them are older than is to be kept."""
    free_bytes: int = 0


class StorageReply(Struct, omit_defaults=True):
    """The largest first. The workflows' figures were extrapolated from `sampled` runs, of about `population`."""

    tables: list[TableSize]
    workflows: list[WorkflowSize]
    sampled: int
    population: int
    is_whole: bool = False
    """Whether the sample was all there is: then its counts are exact."""


class Storage(Request[StorageReply]):
    """Look what takes up how much. `most` workflows of the namespace are told of."""

    op = "storage"
    reply = StorageReply
    most: Annotated[int, Meta(ge=1, le=SCHEDULES)] = 100
