"""Own the threads and child processes that a worker has for its tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiki.execution.tasks.processes import Processes
from aiki.execution.tasks.threads import Threads


@dataclass(frozen=True, slots=True)
class Pools:
    """Shared by all executions of a worker, which closes them at its end."""

    threads: Threads = field(default_factory=Threads)
    processes: Processes = field(default_factory=Processes)

    def close(self) -> None:
        """End idle threads and all processes; a thread that still works ends with its task."""
        self.threads.close()
        self.processes.close()
