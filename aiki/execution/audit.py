"""Own the watch over what a body does past its loop: files, sockets and processes, which Python tells audit hooks of.

I/O of asyncio is refused by the run's loop. `open()`, `requests` and the like ask no loop: they block the worker, and
what they find may be something else on replay. So they are told as faults of the body, with the user's line, and not
refused, for a file that never changes does no harm. What imports, logs, tracebacks and time zones read for themselves
is nobody's fault.

Nothing is heard of what Python does not audit: reading and writing what is open already, `os.stat()`, the environment,
clocks and random numbers, and libraries in C that make their own system calls, such as drivers of databases.

There is one hook in the process, added for its first body, since none can be taken away. Every audit event passes
through it (each `id()` is one), so it looks the event up first, and then whether a body is running in its thread.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from functools import cache
from types import FrameType
from typing import Any, Final

from aiki.core.frames import is_users, line_of
from aiki.execution.loop import RunLoop

_WATCHED: Final[dict[str, str]] = {
    "open": "open()",
    "builtins.input": "input()",
    "sqlite3.connect": "a database",
    **dict.fromkeys(
        (
            "socket.__new__", "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
            "socket.sendmsg", "socket.sendto",
        ),
        "a socket",
    ),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn"), "a process"),
}  # fmt: skip
_READERS: Final = frozenset(
    {"aiki", "importlib", "linecache", "logging", "tokenize", "traceback", "warnings", "zipimport", "zoneinfo"}
)
"""Packages that read files by themselves, whoever called them."""


@cache
def watch() -> None:
    """Add the hook, if it is not there yet."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    what = _WATCHED.get(event)
    if what is None:
        return
    loop = _get_running_loop()
    if not isinstance(loop, RunLoop) or _is_zone(arguments):
        return
    line = _users_line(sys._getframe(1))  # noqa: SLF001 - documented for this very use
    if line is not None:
        advice = "another replay may find something else: move it into a task"
        loop.call_exception_handler({"message": f"{what} was used in the workflow body at {line}; {advice}"})


def _is_zone(arguments: tuple[Any, ...]) -> bool:
    """Tell whether what is opened is a time zone's file: `ZoneInfo` does that in C, so no frame of its own shows it."""
    return bool(arguments) and isinstance(arguments[0], str) and "zoneinfo" in arguments[0]


def _users_line(frame: FrameType | None) -> str | None:
    """Return the user's innermost line; None if there is none, or if what happens is a reader's own affair."""
    line = None
    while frame is not None and frame.f_code is not RunLoop.run_ready.__code__:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _READERS:
            return None
        if line is None and is_users(frame.f_code.co_filename):
            line = line_of(frame)
        frame = frame.f_back
    return line
