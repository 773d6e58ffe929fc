"""Own how many runs may move at once: `total` slots, and the runs that linger in memory without one.

Invariant: active + free == total, where a run that was claimed is active until it lingers or ends. A lingering run that
can move again takes a slot before any new claim does.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiki.execution import Execution

LINGERING_PER_SLOT: Final = 10


class Slots:
    """The slots of a worker; `on_free` is called when one has become free."""

    def __init__(self, total: int, on_free: Callable[[], None]) -> None:
        self.total = total
        self._on_free = on_free
        self._active: dict[Execution, None] = {}
        self._lingering: OrderedDict[Execution, None] = OrderedDict()
        self._resuming: deque[Execution] = deque()

    @property
    def free(self) -> int:
        """How many more runs may be claimed now."""
        return max(0, self.total - len(self._active) - len(self._resuming))

    def take(self, execution: Execution) -> None:
        """Give a slot to a run that was claimed."""
        self._active[execution] = None

    def linger(self, execution: Execution) -> None:
        """Free the slot of a run that only waits. Over the bound, the one that has lingered longest leaves memory."""
        del self._active[execution]
        self._lingering[execution] = None
        self._pass_on()
        if len(self._lingering) > LINGERING_PER_SLOT * self.total:
            next(iter(self._lingering)).suspend()

    def resume(self, execution: Execution) -> None:
        """Give a lingering run a slot: now, or as soon as one is free."""
        self._lingering.pop(execution, None)
        self._resuming.append(execution)
        self._pass_on()

    def end(self, execution: Execution) -> None:
        """Forget a run, whatever it held."""
        self._lingering.pop(execution, None)
        if execution in self._resuming:
            self._resuming.remove(execution)
        if self._active.pop(execution, self) is None:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._resuming and len(self._active) < self.total:
            execution = self._resuming.popleft()
            self._active[execution] = None
            execution.on_slot()
        if self.free:
            self._on_free()
