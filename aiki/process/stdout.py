"""Own this process's stdout: what it does not take costs no exception, and is told of once, at the end.

A command that has begun something goes on with it although nobody hears: rows are enqueued, a run's outcome decides
the exit code. Who asks `lost` at the end learns whether words of a result are missing: the reader may have had enough,
which is no failure, or the disk may be full. A stdout that was closed from the start takes nothing either.
"""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

from aiki.process.streams import STDOUT, Forgiving, as_text, open_missing

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def protect_stdout() -> None:
    """Let no write to stdout raise from now on, and have `lost` tell of it."""
    global _stdout
    open_missing()
    _stdout = _Remembering(closed=sys.stdout is None)
    sys.stdout = as_text(_stdout, sys.stdout)


def lost() -> OSError | None:
    """Return why words on stdout were lost, if any were; BrokenPipeError: whoever read it has gone."""
    return None if _stdout is None else _stdout.loss


def leave_to_user_code() -> None:
    """Count no words as lost any more: those that follow are a user's, and no result of ours."""
    if _stdout is not None:
        _stdout.counts = False


class _Remembering(Forgiving):
    """Writes to stdout, and remembers the first loss; nothing is written after it, so what stands there is whole."""

    def __init__(self, *, closed: bool) -> None:
        super().__init__(STDOUT)
        self._closed = closed
        self.counts = True
        self.loss: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        if self._closed:
            self.lose(OSError(errno.EBADF, "it is closed"))
        if self.loss is not None:
            return memoryview(data).nbytes
        return super().write(data)

    def lose(self, error: OSError) -> None:
        if self.counts:
            self.loss = self.loss or error


_stdout: _Remembering | None = None
