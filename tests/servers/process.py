"""Own one process that tests may freeze and kill, and the looking for its family (Linux)."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.servers.warm import Warm
from tests.waiting import patient, wait_until_sync

READY_SECONDS = 30.0


class Process:
    """A process that can be frozen, killed and started again. `start` and `stop` may be called any number of times."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | Warm | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill9(self) -> None:
        """Kill it with SIGKILL, as a crash does, and wait until it and its children are gone."""
        family = [self.pid, *descendants(self.pid)]
        os.kill(self.pid, signal.SIGKILL)
        self._reap()
        wait_until_sync(lambda: not any(is_alive(pid) for pid in family), what="the killed process's children to end")

    def pause(self) -> None:
        """Freeze it and its children with SIGSTOP: connections stay open and nothing answers."""
        for pid in (self.pid, *descendants(self.pid)):
            signal_to(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        for pid in (self.pid, *descendants(self.pid)):
            signal_to(pid, signal.SIGCONT)

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(patient(READY_SECONDS))
        self.process = None
        return code


def descendants(pid: int) -> list[int]:
    """Return the ids of all live descendants of a process (Linux)."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # the process ended while it was looked at
        for listing in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):  # one of its threads did
                children += [int(word) for word in listing.read_text().split()]
    return children


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def signal_to(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
