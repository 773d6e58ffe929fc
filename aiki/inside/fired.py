"""Own what a run is told of the schedule that has fired it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiki.core.moments import to_datetime
from aiki.wire.messages import Fired


@dataclass(frozen=True, slots=True)
class FiredSlot:
    """The slot of a schedule that a run is of. All times are aware, in UTC."""

    id: str
    """The schedule's name."""
    slot: datetime
    """The time that the schedule names, however much later the run has started; of a trigger, when it was asked for."""
    last_completed: datetime | None = None
    """The greatest slot whose run had completed when this one was fired."""


def fired_slot(fired: Fired | None) -> FiredSlot | None:
    """Return what the wire says of it; None for a run that no schedule has fired."""
    if fired is None:
        return None
    last = None if fired.last_completed is None else to_datetime(fired.last_completed)
    return FiredSlot(fired.schedule, to_datetime(fired.slot), last)
