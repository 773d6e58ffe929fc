"""Own this process's stderr: no word on it is worth an exception, and for whoever serves others not a moment either.

Who reads it may have gone: a closed pipe or terminal, a full disk. `protect_stderr` lets words go nowhere then.
Or they are there and do not read: a full pipe, a terminal held by Ctrl-S. After `detach_stderr` a thread waits for
them, and nobody else: a worker that waited on its loop would renew no lease and obey no signal. What does not fit the
thread's queue is dropped, and counted.

Both stand in `sys.stderr`, so they hold for logs, warnings and tracebacks too, whoever writes them.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from aiki.process.streams import STDERR, Forgiving, as_text, open_missing

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

WAITING_BYTES: Final = 1_000_000
"""What may wait for a reader; beyond it words are dropped."""
LAST_WORDS_SECONDS: Final = 0.5
"""How long the end of a process waits for a reader."""


def protect_stderr() -> None:
    """Let no write to stderr raise from now on, whatever has become of it."""
    open_missing()
    sys.stderr = as_text(Forgiving(STDERR), sys.stderr)


def detach_stderr() -> None:
    """Let no write to stderr wait for whoever reads it from now on; call it before a log is set up."""
    global _detached
    if _detached is None:
        _detached = _Detached()
        atexit.register(say_last_words)
    sys.stderr = as_text(_detached, sys.stderr)


def say_last_words() -> None:
    """Wait until all that was said has been written, but not long; to be called before an `os._exit`."""
    if _detached is not None:
        _detached.settle(LAST_WORDS_SECONDS)


class _Detached(Forgiving):
    """Takes words at once; its thread writes them."""

    def __init__(self) -> None:
        super().__init__(STDERR)
        self._pid = os.getpid()
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        # Reentrant: a signal's handler may speak in the middle of a word of ours.
        self._changed = threading.Condition(threading.RLock())
        self._waiting = 0
        self._dropped = 0
        threading.Thread(target=self._write_all, name="aiki-stderr", daemon=True).start()

    def write(self, data: ReadableBuffer, /) -> int:
        if os.getpid() != self._pid:
            return super().write(data)  # a fork of a task's: it has no such thread
        words = bytes(data)
        with self._changed:
            if self._waiting + len(words) > WAITING_BYTES:
                self._dropped += words.count(b"\n")
            else:
                gap = self._gap()
                self._waiting += len(gap) + len(words)
                self._queue.put(gap + words)
        return len(words)

    def settle(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds)

    def _write_all(self) -> None:
        while True:
            words = self._queue.get()
            super().write(words)
            with self._changed:
                self._waiting -= len(words)
                gap = b"" if self._waiting else self._gap()
                self._changed.notify_all()
            super().write(gap)

    def _gap(self) -> bytes:
        """Return what stands where words were dropped."""
        dropped, self._dropped = self._dropped, 0
        return f"({dropped} lines were dropped: nobody read them)\n".encode() if dropped else b""


_detached: _Detached | None = None
