"""Own what is said of runs beside `aiki.RunStatus`: lists of them, their families, what came of orders and waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aiki import AikiError, Because, RunStatus
from aiki.client.deleting import DeletedRun
from aiki.client.history import HistoryEntry
from aiki.client.importing import ImportOutcome
from aiki.client.matching import RunCount
from aiki_cli.view.documents.errors import OutcomeError

BulkWord: TypeAlias = Literal[
    "paused", "pausing", "resumed", "woken", "cancelled", "cancelling", "retried", "moved", "refused"
]


@dataclass(frozen=True, slots=True)
class RunList:
    """Runs, newest first, or by their keys."""

    runs: Sequence[RunStatus]
    cursor: str | None
    """Where to go on, if there may be others: `--cursor`."""


@dataclass(frozen=True, slots=True)
class RefusedRun:
    """A run that did not obey an order, and why."""

    id: str
    error: AikiError


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What has come of an order to one of many runs."""

    id: str
    outcome: BulkWord
    """`pausing` and `cancelling` are runs that were told, and have still to do it."""
    state: str | None
    """How it stands since; of a retry, the run that goes on in its place."""
    why: str | None
    """Why it does not obey, or what it waits for."""
    code: str | None = None
    """What kind of refusal it is: the stable code of an error."""
    retry: str | None = None
    """The run that goes on in its place."""


@dataclass(frozen=True, slots=True)
class BulkOutcomes:
    """What has come of an order to many runs."""

    runs: Sequence[BulkOutcome]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs that were named, in their order; of an order also those that did not obey it."""

    runs: Sequence[RunStatus | RefusedRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRun(RunStatus):
    """All that is known of a run."""

    input: Any
    """Its payload; null if no message can bring it."""
    attempts: Sequence[HistoryEntry] | None
    """Its claims, with whose they were, and the tries that failed, the last 100; null if its journal is a long one."""
    newest_children: Sequence[RunStatus]
    """The last 20 that it has started; how many there are is said by `children`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFamily(RunStatus):
    """A run with its children, and theirs."""

    own: bool
    """Whether the run above has started it, and did not only find it by its key."""
    family: Sequence[RunFamily] | None
    """Its last children; null if they are not looked at here."""
    earlier: Mapping[str, RunCount]
    """How many others it has started before these, by state."""


@dataclass(frozen=True, slots=True)
class History:
    """A run's story."""

    id: str
    history: Sequence[HistoryEntry]
    why: str | None
    """Of a run that has not ended: why it does not move now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReason(Because):
    """One reason why a run does not move."""

    id: str
    """The run that it is of."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What came of a run that was waited for."""

    id: str
    outcome: Literal["completed", "failed", "cancelled", "held", "timeout", "not_found"]
    """`held` is blocked or paused; `timeout` is that of the wait: the run goes on."""
    result: Any = None
    error: OutcomeError | None = None


@dataclass(frozen=True, slots=True)
class RunOutcomes:
    """What came of several, in the order in which they ended."""

    runs: Sequence[RunOutcome]


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """What became of an event that was sent to a run."""

    id: str
    outcome: Literal["sent", "repeated", "refused"]
    """`repeated` had it already."""
    error: AikiError | None = None


@dataclass(frozen=True, slots=True)
class EventOutcomes:
    """What became of it in several."""

    runs: Sequence[EventOutcome]


@dataclass(frozen=True, slots=True)
class UndeletedRun:
    """A run that was not deleted, and why it stays."""

    id: str
    error: AikiError


@dataclass(frozen=True, slots=True)
class DeletedRuns:
    """What became of runs that were to be deleted."""

    runs: Sequence[DeletedRun | UndeletedRun]


@dataclass(frozen=True, slots=True)
class ImportedRuns:
    """What became of runs that were to be imported."""

    runs: Sequence[ImportOutcome]
