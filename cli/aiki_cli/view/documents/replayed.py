"""Own what is said of replays: `Verdict` with its place as members of its own, and how many there are of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiki import State
from aiki.replay import Finding, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerdict:
    """What a replay of one run has found."""

    id: str
    workflow: str
    version: str
    """Its own."""
    as_version: str
    """That of the code on which it was replayed."""
    state: State
    entries: int
    """How many its journal has."""
    verdict: Finding
    why: str | None
    entry: int | None
    """The first entry of its journal, from 1, that does not fit."""
    recorded: str | None
    """What that entry says."""
    asked: str | None
    """What the code asks for instead."""
    file: str | None
    line: int | None
    function: str | None
    diff: str | None
    """Both sides whole."""

    @classmethod
    def of(cls, verdict: Verdict) -> RunVerdict:
        """Return what is said of a verdict."""
        place = verdict.place
        return cls(
            id=verdict.run_id,
            workflow=verdict.workflow,
            version=verdict.version,
            as_version=verdict.as_version,
            state=verdict.state,
            entries=verdict.entries,
            verdict=verdict.finding,
            why=verdict.why or None,
            entry=verdict.entry,
            recorded=verdict.recorded,
            asked=verdict.asked,
            file=None if place is None else place.file,
            line=None if place is None else place.line,
            function=None if place is None else place.function,
            diff=verdict.diff or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedRuns:
    """What replays have found."""

    runs: int
    entries: int
    diverges: int
    differently: int
    """Would go on differently."""
    unknown: int
    compatible: int
    verdicts: Sequence[RunVerdict]
    """The worst first."""
