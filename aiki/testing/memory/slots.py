"""Own how a schedule stands: which of its slots wait, and what has become of the runs of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from aiki.core.states import State
from aiki.rules.scheduling import Look, Waiting, is_open
from aiki.testing.memory.run import Run
from aiki.testing.memory.schedule import Schedule, SlotRow
from aiki.testing.memory.store import Store
from aiki.wire.messages import Slot


@dataclass(slots=True)
class Stand:
    """A schedule with what its slots have come to."""

    schedule: Schedule
    now: int
    open: int = 0
    """Slots of which something goes on."""
    queued: list[Waiting] = field(default_factory=list)
    untold: list[Run] = field(default_factory=list)
    """Runs that go on, and nobody has cancelled."""

    @property
    def look(self) -> Look:
        """What there is to decide."""
        one = self.schedule
        return Look(
            id=one.declared.id,
            spec=one.declared.spec,
            now=self.now,
            decided=one.decided,
            zones=one.zones,
            paused=one.paused,
            open=self.open,
            queued=self.queued,
        )


def stand(store: Store, schedule: Schedule) -> Stand:
    """Return how a schedule stands; of slots whose runs are over that is noted."""
    made = Stand(schedule, store.now())
    for row in schedule.unfinished():
        run = store.runs.get(row.run_id or "")
        if row.result == "queued":
            made.queued.append(Waiting(row.kind, row.slot))
            continue
        if run is not None and run.newest.state is State.COMPLETED:
            schedule.last_completed = max(row.slot, schedule.last_completed or row.slot)
        family = [] if run is None else _open(run)
        row.is_open = bool(family)
        made.open += row.is_open
        made.untold += [one for one in family if one.cancel_seq is None]
    return made


def _open(run: Run) -> list[Run]:
    """Return what goes on of a slot's run: the newest of its retries, or else some that have come of all of them."""
    if not run.newest.is_over:
        return [run.newest]
    return [one for one in _family(run) if is_open([one.state])]


def _family(run: Run) -> Iterator[Run]:
    seen: set[str] = set()
    left = [run]
    while left:
        one = left.pop()
        if one.id not in seen:
            seen.add(one.id)
            yield one
            left += [link.child for link in one.children.values() if link.owned]
            left += [] if one.retried_by is None else [one.retried_by]


def told(store: Store, row: SlotRow) -> Slot:
    """Return what became of a slot as it is told."""
    run = store.runs.get(row.run_id or "")
    state = None if run is None else run.newest.state
    return Slot(row.slot, row.result, row.at, row.kind, row.reason, row.run_id, state, row.until, row.count)
