"""Own what the three standard streams of a process of ours have in common, whatever has become of them.

They may be closed: a service manager, cron, `2>&-`. Then the next file that is opened would become our stdin, stdout
or stderr, so nothing (`/dev/null`) takes its place, before anything else is opened. Or they may not hold a character:
`PYTHONIOENCODING=ascii`, a locale of old. Then it is written as JSON escapes it, which JSON reads back.
"""

from __future__ import annotations

import codecs
import io
import os
import select
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from aiki.process.visible import json_escaped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
_ESCAPING: Final = "aiki.escaping"


def open_missing() -> None:
    """Open standard descriptors that are closed on nothing: else the next socket would become our stderr."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free one, which is this one


class Forgiving(io.RawIOBase):
    """Writes to a descriptor; what cannot be written is lost."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written, and return the size of all."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody who shares it has made it so
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lose(error)
                break
        return size

    def lose(self, error: OSError) -> None:
        """Take note of words that were lost."""

    def writable(self) -> bool:
        """Tell what a stream over it asks."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Tell whether a person may sit there."""
        return os.isatty(self._descriptor)


def as_text(raw: io.RawIOBase, instead_of: TextIO | None) -> TextIO:
    """Return a stream of lines over `raw` in the encoding of the one that it replaces; None: that was closed."""
    encoding = getattr(instead_of, "encoding", None) or "utf-8"
    # It is what Python makes of an unbuffered stream; typeshed knows only buffered ones.
    return io.TextIOWrapper(cast(Any, raw), encoding=encoding, errors=_ESCAPING, line_buffering=True)


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json_escaped(error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPING, _escape)
