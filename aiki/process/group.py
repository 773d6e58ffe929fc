"""Own a child of ours that leads a group of processes, and the end of all that it has started.

What a leader leaves behind is in its group, for as long as it has not put itself into a session of its own; what has
is found on Linux by its parents, if those live. A group's number is that of its leader, and nobody else gets it before
the leader is collected: so the group ends first, and nothing here collects.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_WAITID: Final[Any] = getattr(os, "waitid", None)
"""Tells of a child without collecting it; macOS has it from Python 3.13 on."""


def lead() -> None:
    """Become the leader of a group and a session: a terminal's signals no longer come, nor does its end."""
    os.setsid()


def is_ended(child: int) -> bool | None:
    """Tell whether a child has ended, without collecting it; None if it is collected, or the system cannot tell."""
    if _WAITID is None:
        return None
    try:
        return _WAITID(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return None


def ask_to_end(child: int) -> None:
    """Send a child of ours SIGTERM, it alone; nothing, if it is collected."""
    if _WAITID is None or is_ended(child) is not None:
        with suppress(OSError):
            os.kill(child, signal.SIGTERM)


def end_group(leader: int) -> None:
    """Kill a child of ours, its group, and what else descends from it; nothing, if the child is collected."""
    if _WAITID is not None and is_ended(leader) is None:
        return
    others = list(_descendants(leader))  # before its end gives them another parent
    with suppress(OSError):  # it does not lead yet, or all have ended
        os.killpg(leader, signal.SIGKILL)
    for pid in (leader, *others):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in file.read_text().split()]
        except OSError:  # the thread has ended
            continue
        for child in children:
            yield child
            yield from _descendants(child)
