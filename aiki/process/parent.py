"""Own the tie of a process to the one that started it: it ends with it, however that one came to its end.

On Linux the kernel sends a signal when the parent dies. Everywhere a pipe tells it, whose other end nobody but the
parent holds; from that one learns it also where no signal comes, or where the signal was not enough.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Final

PARENT_VARIABLE: Final = "AIKI_PARENT_FD"
"""The file descriptor that comes to its end with the process that started us."""
_PR_SET_PDEATHSIG: Final = 1
_PRCTL: Final = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def die_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process `number` when `parent` ends (Linux); for the moment between fork and exec.

    It is tied to the thread that forks: fork in one that lasts.
    """
    if _PRCTL is None:
        return
    _PRCTL(_PR_SET_PDEATHSIG, int(number))
    # Died before the line above took effect: nobody would tell us any more.
    if os.getppid() != parent:
        os._exit(1)


def watch_parent(on_end: Callable[[], None]) -> None:
    """Call `on_end` in a thread of its own once the process that started us has ended; never if none is tied to us."""
    descriptor = os.environ.pop(PARENT_VARIABLE, "")
    if descriptor.isdecimal():
        watching = threading.Thread(target=_watch, args=(int(descriptor), on_end), name="aiki-parent", daemon=True)
        watching.start()


def end_with(descriptor: int) -> None:
    """End this process, and the group that it leads, at once when the other end of a pipe is closed.

    That is so even while code holds the interpreter's lock. Then no thread of ours can run; but the kernel tells of the
    closed pipe by a signal: on Linux by one that nothing ignores, elsewhere by SIGIO, whose default is the end.
    """
    leads = os.getpgrp() == os.getpid()
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpid() if leads else os.getpid())
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_end_with, args=(descriptor,), name="aiki-parent", daemon=True).start()


def _watch(descriptor: int, on_end: Callable[[], None]) -> None:
    try:
        said = os.read(descriptor, 1)
    except OSError:
        return  # no pipe of ours: whoever started us meant something else
    if not said:
        on_end()


def _end_with(descriptor: int) -> None:
    select.select([descriptor], [], [])
    os._exit(1)
