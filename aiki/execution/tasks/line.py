"""Own the pipe of a task's process as the task itself uses it: its signs of life go out, the word to end comes in.

A task may say that it lives for each row of a table: so no more goes out than the parent's thread may well take, the
last sign always. The word is the only thing that comes in while a task runs, and a SIGTERM follows it. One without a
word was sent to all processes at once, and passes over the task as ever.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from aiki.core.errors import TaskCancelled
from aiki.inside.pulse import Pulse

BEAT: Final = b"~"
"""What a sign of life begins with; what is said follows."""
CANCELLED: Final = "cancelled"
"""The parent's word, beside which it sends SIGTERM."""
_PAUSE_SECONDS: Final = 0.1


class Line(Pulse):
    """A try's pulse in a process of its own. It is to be closed before the answer goes out."""

    __slots__ = ("_has_more", "_has_words", "_is_closed", "_lock", "_pipe", "_said_at", "_timer")

    def __init__(self, pipe: Connection[Any, Any], *, said: bytes | None) -> None:
        super().__init__(said)
        self._pipe = pipe
        self._lock = threading.RLock()
        self._is_closed = False
        self._has_more = False
        self._has_words = False
        self._said_at = 0.0
        self._timer: threading.Timer | None = None

    def close(self) -> None:
        """Say what is left to be said, and nothing more from here on."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._has_more:
                self._say()
            self._is_closed = True

    def hear(self) -> None:
        """Raise TaskCancelled, once, if the word is there. It stays in the pipe, of a child that is not used again."""
        if not self.cancelled and self._pipe.poll():
            self.cancel(raises=False)
            raise TaskCancelled("this try of the task has been given up: it has a moment to end")

    def _on_beat(self, *, says: bool) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._has_more = True
            self._has_words = self._has_words or says
            wait = self._said_at + _PAUSE_SECONDS - time.monotonic()
            if wait <= 0:
                self._say()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self._say_late)
                self._timer.daemon = True
                self._timer.start()

    def _say_late(self) -> None:
        with self._lock:
            self._timer = None
            if self._has_more and not self._is_closed:
                self._say()

    def _say(self) -> None:
        words = self.said if self._has_words else None
        self._has_more = self._has_words = False
        self._said_at = time.monotonic()
        with suppress(OSError):  # a fork of the task's has no pipe, nor one whose parent is gone
            self._pipe.send_bytes(BEAT + (words or b""))
