"""Own how many runs may move at once: `total` slots, and the runs that linger in memory without one.

Invariant: active + reserved <= total, where a run that was claimed is active until it lingers or ends, and what a claim
asked for is reserved until its runs are there, or it is given up; so is what daemons have leave to hand over. A
lingering run that can move again takes a slot before any new claim does.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiki.execution import ClaimedRun

LINGERING_PER_SLOT: Final = 10


class Reservation:
    """Slots that are kept for the runs which a claim, or a hand-over, may bring."""

    __slots__ = ("left",)

    def __init__(self, count: int) -> None:
        self.left = count


class Slots:
    """The slots of a worker; `on_free` is called when one has become free."""

    def __init__(self, total: int, on_free: Callable[[], None]) -> None:
        self.total = total
        self._on_free = on_free
        self._reserved = 0
        self._active: dict[ClaimedRun, None] = {}
        self._lingering: OrderedDict[ClaimedRun, None] = OrderedDict()
        self._resuming: deque[ClaimedRun] = deque()

    @property
    def free(self) -> int:
        """How many more runs may be claimed now."""
        return max(0, self.total - len(self._active) - self._reserved - len(self._resuming))

    @property
    def is_short(self) -> bool:
        """Whether a run that can move again waits for a slot."""
        return bool(self._resuming)

    def reserve(self, count: int) -> Reservation:
        """Keep `count` of the free slots for a claim."""
        reservation = Reservation(0)
        self.extend(reservation, count)
        return reservation

    def extend(self, reservation: Reservation, count: int) -> None:
        """Keep `count` more of the free slots."""
        assert count <= self.free
        self._reserved += count
        reservation.left += count

    def release(self, reservation: Reservation, *, keep: int = 0) -> None:
        """Keep what is left of it beyond `keep` no longer: it was answered, or its answer is overdue."""
        if (over := reservation.left - keep) > 0:
            self._reserved -= over
            reservation.left -= over
            self._pass_on()

    def take(self, execution: ClaimedRun, reservation: Reservation) -> bool:
        """Give a slot to a run that was claimed; tell whether there was one.

        A claim that was answered in time has one for each of its runs, one that was given up has what is free.
        """
        if reservation.left:
            reservation.left -= 1
            self._reserved -= 1
        elif not self.free:
            return False
        self._active[execution] = None
        return True

    def linger(self, execution: ClaimedRun) -> None:
        """Free the slot of a run that only waits. Over the bound, those that have lingered longest leave memory."""
        del self._active[execution]
        self._lingering[execution] = None
        self._pass_on()
        # They are here until that is durable: one that was told to leave before does not count for another.
        over = len(self._lingering) - LINGERING_PER_SLOT * self.total
        for oldest in list(islice(self._lingering, max(0, over))):
            oldest.suspend()

    def resume(self, execution: ClaimedRun) -> None:
        """Give a lingering run a slot: now, or as soon as one is free."""
        self._lingering.pop(execution, None)
        self._resuming.append(execution)
        self._pass_on()
        if self._resuming and self._reserved:
            self._on_free()  # some of what is kept may be had back

    def end(self, execution: ClaimedRun) -> None:
        """Forget a run, whatever it held."""
        self._lingering.pop(execution, None)
        if execution in self._resuming:
            self._resuming.remove(execution)
        self._active.pop(execution, None)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._resuming and len(self._active) + self._reserved < self.total:
            execution = self._resuming.popleft()
            self._active[execution] = None
            execution.on_slot()
        if self.free:
            self._on_free()
