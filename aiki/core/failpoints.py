"""Own the named points at which tests make a process die, freeze or lose a reply; without a test they do nothing.

`AIKI_FAILPOINTS` arms them: `name=action[@count]`, several with commas between them. `kill` is SIGKILL, `stop` is
SIGSTOP (the test lets it go on with SIGCONT), `drop` makes the caller leave out the reply or message that it was about
to send, `block` keeps the thread that came there, and no other, until the test removes the point's file. A point acts
once in a process, at the `count`-th time that it is reached (default 1). With `AIKI_FAILPOINTS_ONCE`, a folder, it acts
once in all processes: it leaves a file of its name there first, so that a restarted process does not die again and a
test can see that the point was reached at all.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ACTIONS: Final = ("kill", "stop", "drop", "block")
_ITEM: Final = re.compile(r"([a-z_]+(?:\.[a-z_]+)+)=([a-z]+)(?:@([1-9][0-9]*))?")


class _Point:
    """An armed point: `left` times it is passed before it acts."""

    __slots__ = ("action", "left", "marker")

    def __init__(self, action: str, count: int, marker: Path | None) -> None:
        self.action = action
        self.left = count
        self.marker = marker

    def reach(self) -> bool:
        self.left -= 1
        if self.left or not self._is_first():
            return False
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.action == "block":
            while self.marker is not None and self.marker.exists():
                time.sleep(0.005)
        return self.action == "drop"

    def _is_first(self) -> bool:
        if self.marker is None:
            return True
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def parse(text: str, once: str | None = None) -> dict[str, _Point]:
    """Return the points that `text` arms, by name. Raises ValueError that names the item it cannot read."""
    points = {}
    for item in filter(None, text.split(",")):
        match = _ITEM.fullmatch(item.strip())
        if match is None or match[2] not in ACTIONS:
            raise ValueError(f"AIKI_FAILPOINTS: expected name={'|'.join(ACTIONS)}[@count], got {item!r}")
        if match[2] == "block" and not once:
            raise ValueError(f"AIKI_FAILPOINTS: {item!r} needs AIKI_FAILPOINTS_ONCE, where it leaves its file")
        points[match[1]] = _Point(match[2], int(match[3] or 1), Path(once, match[1]) if once else None)
    return points


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Point]:
    text = environ.get("AIKI_FAILPOINTS")
    if not text:
        return {}
    # Said aloud, before any log is set up: nobody shall run with these unawares.
    print(f"warning: failpoints are armed in process {os.getpid()}: {text}", file=sys.stderr, flush=True)  # noqa: T201
    return parse(text, environ.get("AIKI_FAILPOINTS_ONCE"))


_armed: Final = _from_environment(os.environ)


def failpoint(name: str) -> bool:
    """Pass the point `name`; return True if a test wants the message dropped that would be sent now."""
    point = _armed.get(name)
    return False if point is None else point.reach()
