"""Own a fleet of worker processes: start them, start again what dies, replace all when sources change, end them.

A change starts the new processes first; the old ones go only when all new ones serve. So code that cannot be imported
is shown and the old code goes on. Modules are never reloaded inside a process: a half-new program is worse than an
old one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from signal import Signals
from typing import Final

from aiki.process.signals import obeying
from aiki_cli import exits
from aiki_cli.processes.child import Child
from aiki_cli.processes.sources import Sources

TICK_SECONDS: Final = 0.1
SCAN_SECONDS: Final = 0.4
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
STEADY_SECONDS: Final = 60.0
_REPAIRABLE: Final = frozenset({exits.UNREACHABLE, exits.TRY_AGAIN})
"""Exit codes of a worker that may do better a moment later."""


@dataclass
class _Place:
    """Where one worker of the fleet runs."""

    child: Child | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    next_start: float = 0.0


@dataclass
class Fleet:
    """`size` processes made by `spawn`; with `sources` they follow changes of the code."""

    spawn: Callable[[], Child]
    size: int
    say: Callable[[str], None]
    drain_seconds: float
    sources: Sources | None = None
    on_ready: Callable[[], None] = lambda: None
    without: Callable[[], int | None] = lambda: None
    """Returns an exit code once there is no point in going on: what the fleet needs has ended."""
    stops: list[Signals] = field(default_factory=list)
    """Signals to stop so far: the first drains, the others make haste."""
    _places: list[_Place] = field(default_factory=list)
    _coming: list[Child] = field(default_factory=list)
    _leaving: list[Child] = field(default_factory=list)
    _was_ready: bool = False

    def run(self) -> int:
        """Keep the fleet until SIGTERM, SIGHUP or Ctrl-C, then drain it. Returns 0, or why no worker can start."""
        with obeying(self.stops.append, Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP, again=self.stops.append):
            try:
                return self._run()
            finally:
                for child in [*self._coming, *self._leaving, *(place.child for place in self._places if place.child)]:
                    child.end(seconds=self.drain_seconds + 10.0)

    def _run(self) -> int:
        self._places = [_Place() for _ in range(self.size)]
        next_scan = 0.0
        while not self.stops:
            code = self.without()
            if code is None:
                code = self._keep()
            if code is not None:
                return code
            if self.sources is not None and time.monotonic() >= next_scan:
                began = time.monotonic()
                self._follow(self.sources)
                # However many files there are, looking at them takes at most a tenth of the time.
                next_scan = began + max(SCAN_SECONDS, 10 * (time.monotonic() - began))
            self._settle()
            self._leaving = [child for child in self._leaving if _still_runs(child)]
            time.sleep(TICK_SECONDS)
        return self._stop()

    def _keep(self) -> int | None:
        """Start what does not run. Returns an exit code if a worker says that it never can, or is denied its NATS."""
        now = time.monotonic()
        for place in self._places:
            if place.child is not None and (code := place.child.exit_code()) is not None:
                was_ready = place.child.check_ready()
                place.child.close()
                place.child = None
                if not was_ready and self.sources is None and code not in _REPAIRABLE:
                    return code
                if code == exits.DENIED:
                    # It has waited for as long as it may: whoever gave us the credentials has to know.
                    return code
                if now - place.started > STEADY_SECONDS:
                    place.pause = FIRST_PAUSE
                place.next_start = now + place.pause
                if was_ready or code in _REPAIRABLE:
                    self.say(f"the worker ended with exit code {code}; starting it again in {place.pause:g} s")
                    place.pause = min(place.pause * 2, LONGEST_PAUSE)
                else:
                    place.next_start = float("inf")
                    self.say("the worker cannot start; waiting for a change")
            if place.child is None and now >= place.next_start:
                place.child = self.spawn()
                place.started = now
        if not self._was_ready and all(place.child and place.child.check_ready() for place in self._places):
            self._was_ready = True
            self.on_ready()
        return None

    def _follow(self, sources: Sources) -> None:
        changed = sources.changed()
        if not changed:
            return
        names = ", ".join(sorted(path.name for path in changed)[:3])
        self.say(f"{names} changed: starting a new worker")
        self._leaving += self._coming
        for child in self._coming:
            child.send(signal.SIGTERM)
        self._coming = [self.spawn() for _ in self._places]

    def _settle(self) -> None:
        """Let new processes take over once all serve; drop them if one cannot."""
        if not self._coming:
            return
        if any(child.exit_code() is not None for child in self._coming):
            survivors = any(place.child for place in self._places)
            self.say("the new worker cannot start; " + ("the old one goes on" if survivors else "waiting for a change"))
            self._leaving += self._coming
            for child in self._coming:
                child.send(signal.SIGTERM)
            self._coming = []
        elif all(child.check_ready() for child in self._coming):
            for place, child in zip(self._places, self._coming, strict=True):
                if place.child is not None:
                    place.child.send(signal.SIGTERM)
                    self._leaving.append(place.child)
                place.child, place.started, place.next_start = child, time.monotonic(), 0.0
            self._coming = []

    def _stop(self) -> int:
        """Drain all; a second signal is passed on as a second signal."""
        children = [*self._coming, *self._leaving, *(place.child for place in self._places if place.child)]
        for child in children:
            child.send(signal.SIGTERM)
        passed_on = 1
        deadline = time.monotonic() + self.drain_seconds + 10.0
        while any(child.exit_code() is None for child in children) and time.monotonic() < deadline:
            if len(self.stops) > passed_on:
                passed_on = len(self.stops)
                for child in children:
                    child.send(signal.SIGTERM)
            time.sleep(TICK_SECONDS)
        return exits.OK if len(self.stops) == 1 else exits.of_signal(self.stops[-1])


def _still_runs(child: Child) -> bool:
    if child.exit_code() is None:
        return True
    child.close()
    return False
