"""Own what a body says of its run's next generation, and what it is told of the journal that it leaves behind."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Next(Struct, frozen=True):
    """How a run goes on: its input, as it is stored, and its version, if that is another one."""

    input: bytes
    version: str | None
    called: str
    """What the user has called."""


class JournalSize(NamedTuple):
    """How much a run has recorded in its generation."""

    entries: int
    bytes: int
