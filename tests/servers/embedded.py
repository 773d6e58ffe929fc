"""Own one of the embedded servers as a process of a test."""

from __future__ import annotations

import signal
import subprocess

from aikid.embedded.child import Server, end, last_lines
from tests.servers.process import READY_SECONDS, Process
from tests.waiting import patient, wait_until_sync


class Served(Process):
    """A Process that is one of the embedded servers."""

    server: Server

    def start(self) -> None:
        """Start it on its data and wait until it answers."""
        if self.running:
            return
        self.server.prepare()
        self.process = process = self.server.spawn()

        def ready() -> bool:
            assert process.poll() is None, f"{self.server.name} ended:\n{last_lines(self.server, 20)}"
            return self.server.is_ready(process)

        wait_until_sync(ready, READY_SECONDS, what=f"{self.server.name} to answer")

    def stop(self) -> None:
        """End it cleanly."""
        self._end(self.server.stop_signal)

    def close(self) -> None:
        """End it at once, as one whose data nobody needs any more."""
        self._end(self.server.kill_signal)

    def _end(self, first: signal.Signals) -> None:
        if self.process is not None:
            assert isinstance(self.process, subprocess.Popen)
            self.resume()
            end(self.process, first=first, then=self.server.kill_signal, seconds=patient(15))
            self.process = None

    def restart(self) -> None:
        """Stop it cleanly if it runs, and start it on the same data."""
        self.stop()
        self.start()
