"""Own which frames of a traceback are a user's, and the line to name: `file:line in function`.

Frames of Aiki, of anyio and of Python's own library are no help to whoever wrote a workflow. So a traceback begins
with the user's first frame, and a word about a body names the user's innermost line.
"""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, NamedTuple

from aiki.core.errors import AikiError

_AIKI: Final = str(Path(__file__).parent.parent) + os.sep
_STANDARD: Final = str(Path(inspect.__file__).parent) + os.sep


class Place(NamedTuple):
    """A line of a user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def is_users(filename: str) -> bool:
    """Tell whether the file belongs to the user rather than to Aiki, anyio or the standard library."""
    return not filename.startswith(_libraries()) and (not filename.startswith(_STANDARD) or "site-packages" in filename)


def line_of(frame: FrameType, line: int | None = None) -> str:
    """Return `file:line in function`, with the line that the frame is at unless another is given."""
    return line_in(frame.f_code, frame.f_lineno if line is None else line)


def line_in(code: CodeType, line: int | None) -> str:
    """Return `file:line in function`."""
    return f"{code.co_filename}:{line} in {code.co_name}"


def users_lines(frame: FrameType | None, *, outermost: CodeType | str) -> Iterator[str]:
    """Yield the lines of the user's frames from `frame` outward, up to a function's code or a file of ours."""
    while frame is not None:
        code = frame.f_code
        if code is outermost or code.co_filename == outermost:
            return
        if is_users(code.co_filename):
            yield line_of(frame)
        frame = frame.f_back


def users_part(error: BaseException) -> TracebackType | None:
    """Return the error's traceback from the user's first frame on; None if it has none."""
    trace = error.__traceback__
    while trace is not None and not is_users(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def users_last_line(error: BaseException) -> str | None:
    """Return the user's line nearest to where the error was raised; None if it went through none."""
    found = users_last_place(error)
    return None if found is None else str(found)


def report(error: BaseException) -> traceback.TracebackException:
    """Return what to print of the error, from the user's first frame on.

    Where Aiki refused a call it ends with the user's line: how we came to refuse it is no help.
    """
    found = traceback.TracebackException(type(error), error, users_part(error))
    _end_with_the_users_line(found, error)
    return found


def users_traceback(error: BaseException) -> str:
    """Return the text of that report; the error alone if it went through no frame of the user."""
    shown = report(error)
    lines = shown.format()
    return "".join(lines if shown.stack else (line for line in lines if not line.startswith("Traceback ")))


def _end_with_the_users_line(found: traceback.TracebackException, error: BaseException) -> None:
    if isinstance(error, AikiError):
        theirs = [place for place, frame in enumerate(found.stack) if is_users(frame.filename)]
        del found.stack[theirs[-1] + 1 if theirs else 0 :]
    if isinstance(error, BaseExceptionGroup):
        for inside, each in zip(found.exceptions or (), error.exceptions, strict=False):
            _end_with_the_users_line(inside, each)


def users_last_place(error: BaseException) -> Place | None:
    """Return the user's place nearest to where the error was raised; None if it went through none."""
    theirs = [at for at in traceback.walk_tb(error.__traceback__) if is_users(at[0].f_code.co_filename)]
    return place_of(*theirs[-1]) if theirs else None


def place_of(frame: FrameType, line: int | None = None) -> Place:
    """Return where a frame is, or which of its lines."""
    return Place(frame.f_code.co_filename, frame.f_lineno if line is None else line, frame.f_code.co_name)


def written_at(fn: Callable[..., Any]) -> str | None:
    """Return `file:line` of a function; None for what is no function of Python's."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else None


def place(fn: Callable[..., Any]) -> str:
    """Return where `fn` was written: its name, file and line."""
    name = getattr(fn, "__qualname__", repr(fn))
    where = written_at(fn)
    return f"{name} ({where})" if where else name


@cache
def _libraries() -> tuple[str, ...]:
    # Found without importing it: whoever only imports Aiki does not need it.
    spec = find_spec("anyio")
    folders = (spec and spec.submodule_search_locations) or ()
    return (_AIKI, "<frozen", *(folder + os.sep for folder in folders))
