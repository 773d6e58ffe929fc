"""Own what a worker gives to the executions of its runs: limits in time, and the pools that tasks run in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiki.execution.tasks.processes import Processes
from aiki.execution.tasks.threads import Threads


@dataclass(frozen=True)
class Settings:
    """Shared by all executions of a worker, which closes it at its end."""

    linger_seconds: float = 10.0
    """A run whose next timer is further away than this leaves memory at once."""
    inline_retry_seconds: float = 5.0
    """The same for a retry."""
    slow_step_seconds: float = 0.1
    """A body that blocks the loop for longer is logged with its line."""
    lease_poll_seconds: float = 0.5
    """How often to look again whether tasks may start, while the lease is uncertain."""
    shared: Any = None
    """What the worker's tasks share."""
    threads: Threads = field(default_factory=Threads)
    processes: Processes = field(default_factory=Processes)

    def close(self) -> None:
        """End idle threads and all processes; a thread that still works ends with its task."""
        self.threads.close()
        self.processes.close()
