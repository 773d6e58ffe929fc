"""Own a process that replays runs, from the inside: it imports the code at hand, then judges one run after the other.

What the code at hand prints or logs goes nowhere. A watch tells where a run stands that takes too long; to end the
process is for its parent, with which it ends, too, whatever it is doing then.

    python -P -m aiki.replay.child SOCKET TIE
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time

from aiki.core.errors import AikiError
from aiki.core.frames import Place, is_users, place_of
from aiki.definitions.registry import Registry
from aiki.manifest.collecting import import_module, workflows_of
from aiki.process.imports import look_first_in
from aiki.process.parent import end_with
from aiki.replay.judging import judge, verdict
from aiki.replay.parcels import LENGTH, Answer, Judged, Ready, Setup, Stuck, framed, read_setup, unpacked
from aiki.replay.recording import Recording
from aiki.replay.verdicts import Finding, Verdict
from aiki.wire.codec import encode


class _Line:
    """The words to and from the parent; two threads may speak."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._read = line.makefile("rb")
        self._speaking = threading.Lock()
        # A fork of a body's would answer for the run as well, and take the next one.
        os.register_at_fork(after_in_child=self._close)

    def hear(self) -> bytes:
        """Return the next word; empty if there is none any more."""
        length = self._read.read(LENGTH.size)
        return self._read.read(*LENGTH.unpack(length)) if len(length) == LENGTH.size else b""

    def say(self, answer: Answer) -> None:
        with self._speaking:
            self._line.sendall(framed(encode(answer)))

    def _close(self) -> None:
        self._read.close()
        self._line.close()


class _Watch:
    """Tells once of each run that takes too long."""

    def __init__(self, line: _Line, seconds: float) -> None:
        self._line = line
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._begun = 0.0
        self._changed = threading.Condition()
        threading.Thread(target=self._look, name="aiki-replay-watch", daemon=True).start()

    def begin(self) -> None:
        with self._changed:
            self._begun = time.monotonic()
            self._changed.notify()

    def end(self) -> None:
        """Say that the run is over; if it was told of as stuck its parent has no use for more."""
        with self._changed:
            self._begun = 0.0

    def _look(self) -> None:
        with self._changed:
            while True:
                begun = self._begun
                if not begun:
                    self._changed.wait()
                elif (left := begun + self._seconds - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    self._line.say(Stuck(self._place()))
                    os._exit(0)

    def _place(self) -> Place | None:
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented for this very use
        while frame is not None and not is_users(frame.f_code.co_filename):
            frame = frame.f_back
        return None if frame is None else place_of(frame)


def main() -> None:
    """Replay what comes until nothing more does."""
    line, tie = (int(argument) for argument in sys.argv[1:])
    end_with(tie)
    serve(_Line(socket.socket(fileno=line)))


def serve(line: _Line) -> None:
    """Answer one word after another."""
    setup = read_setup(line.hear())
    logging.disable(logging.CRITICAL)
    registry, failures = _imported(setup)
    line.say(Ready(failures))
    watch = _Watch(line, setup.run_seconds)
    missing = "".join(f"; module {name} could not be imported: {why}" for name, why in failures)
    while word := line.hear():
        watch.begin()
        judged = _judged(unpacked(word), registry, setup.as_version, missing)
        watch.end()
        line.say(Judged.of(judged))


def _imported(setup: Setup) -> tuple[Registry, list[tuple[str, str]]]:
    """Return the workflows of all modules that can be imported, and why the others cannot."""
    look_first_in(setup.folders)
    registry = Registry()
    failures = []
    for name in setup.modules:
        try:
            for workflow in workflows_of(import_module(name)):
                registry.add(workflow)
        except AikiError as error:
            failures.append((name, error.message))
    return registry, failures


def _judged(recording: Recording, registry: Registry, as_version: str | None, missing: str) -> Verdict:
    run = recording.exported.run
    try:
        found = judge(recording, registry, as_version=as_version)
    except Exception as error:  # noqa: BLE001 - one run's trouble is no other's
        why = f"needs what is no valid record: {type(error).__name__}: {error}"
        return verdict(recording, as_version or run.version, Finding.UNKNOWN, why)
    if missing and registry.get(run.workflow, as_version or run.version) is None:
        return verdict(recording, found.as_version, found.finding, found.why + missing)
    return found


if __name__ == "__main__":
    main()
