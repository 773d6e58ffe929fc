"""Own what a replay finds of one run: a verdict, and what stands in it for a person and for a script."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiki.core.frames import Place
    from aiki.core.states import State


class Finding(StrEnum):
    """What a verdict comes to."""

    COMPATIBLE = "compatible"
    """All that is recorded is asked for in its order, and a run that has ended ends as it did."""
    DIVERGES = "diverges"
    """What is recorded is not asked for, or no longer fits: a worker would block the run, or it would fail by that."""
    DIFFERENTLY = "would go on differently"
    """All that is recorded is asked for; but a call that was started no longer is, or a run that sleeps or waits would
    rest for other arrivals, or until another date. Of a run that has ended: it would end otherwise, or not yet."""
    UNKNOWN = "unknown"
    """It could not be replayed; the reason says what that needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a replay of one run has found."""

    run_id: str
    workflow: str
    version: str
    """Its own."""
    as_version: str
    """That of the code on which it was replayed."""
    state: State
    entries: int
    """How many its journal has."""
    finding: Finding
    why: str = ""
    """In one sentence; empty where it is compatible."""
    entry: int | None = None
    """The first entry of its journal, from 1, that does not fit."""
    recorded: str | None = None
    """What that entry, or the record beside it, says."""
    asked: str | None = None
    """What the code asks for instead."""
    place: Place | None = None
    """The line of the body that asks for it, or at which it waits or has ended."""
    diff: str = ""
    """Both sides whole, as a worker would tell them of a blocked run."""
