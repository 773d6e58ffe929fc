"""Own what is said of schedules: `aiki.ScheduleInfo` with its call and its rule as members of its own, and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from aiki import AikiError, ScheduleInfo, SlotInfo
from aiki.client.when import CatchUp, Overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSchedule:
    """A schedule."""

    name: str
    id: str
    state: Literal["active", "paused", "over"]
    """`over` has no slot to come."""
    cron: str | None
    every: timedelta | None
    at: datetime | None
    timezone: str
    anchor: datetime | None
    start: datetime | None
    end: datetime | None
    jitter: timedelta
    overlap: Overlap
    catch_up: CatchUp
    window: timedelta
    """How old a slot may be that is caught up with."""
    workflow: str
    version: str | None
    payload: Any
    labels: Mapping[str, str]
    priority: int
    timeout: timedelta | None
    """Of its runs, as `cancel_timeout` is."""
    cancel_timeout: timedelta | None
    project: str | None
    """The manifest's project that it belongs to."""
    created_at: datetime
    updated_at: datetime
    revision: int
    """Rises with each change."""
    note: str
    """Why it is paused."""
    vanished: bool
    """Whether it is paused since its manifest names it no longer."""
    next: datetime | None
    last_completed: datetime | None
    """The greatest slot whose run has completed."""
    open: int
    """Its runs that have not ended."""
    queued: int
    """Slots that wait for such a run."""
    served: bool
    """Whether a worker serves its workflow."""

    @classmethod
    def of(cls, info: ScheduleInfo, *, state: Literal["active", "paused", "over"]) -> ShownSchedule:
        """Return what is said of a schedule that stands so."""
        when, options = info.when, info.call.run_options
        return cls(
            name=info.name,
            id=info.id,
            state=state,
            cron=when.cron,
            every=when.every,
            at=when.at,
            timezone=when.timezone,
            anchor=when.anchor,
            start=when.start,
            end=when.end,
            jitter=when.jitter,
            overlap=when.overlap,
            catch_up=when.catch_up,
            window=when.window,
            workflow=info.call.workflow,
            version=info.call.version,
            payload=info.call.payload,
            labels=options.labels,
            priority=options.priority or 0,
            timeout=_length(options.timeout),
            cancel_timeout=_length(options.cancel_timeout),
            project=info.project,
            created_at=info.created_at,
            updated_at=info.updated_at,
            revision=info.revision,
            note=info.note,
            vanished=info.vanished,
            next=info.next,
            last_completed=info.last_completed,
            open=info.open,
            queued=info.queued,
            served=info.served,
        )


@dataclass(frozen=True, slots=True)
class Firing:
    """A slot to come, and when its run is enqueued: with jitter somewhat later."""

    slot: datetime
    fires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeSchedule(ShownSchedule):
    """All that is known of a schedule."""

    slots: Sequence[SlotInfo]
    """Its latest, newest first."""
    upcoming: Sequence[Firing]


@dataclass(frozen=True, slots=True)
class Schedules:
    """Schedules by their names."""

    schedules: Sequence[ShownSchedule]


@dataclass(frozen=True, slots=True)
class Firings:
    """Slots to come."""

    firings: Sequence[Firing]


@dataclass(frozen=True, slots=True)
class Slots:
    """What became of slots."""

    slots: Sequence[SlotInfo]


@dataclass(frozen=True, slots=True)
class Triggered:
    """The run of a schedule that was fired out of turn."""

    id: str
    schedule: str


@dataclass(frozen=True, slots=True)
class ScheduleOutcome:
    """What came of an order to a schedule."""

    name: str
    result: Literal["paused", "resumed", "deleted", "refused"]
    error: AikiError | None


@dataclass(frozen=True, slots=True)
class ScheduleOutcomes:
    """What came of an order to several."""

    schedules: Sequence[ScheduleOutcome]


def _length(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)
