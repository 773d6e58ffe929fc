"""Own what keys of a run mean to people (which task, which timer), and what is said of a try that failed. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal

_TASK: Final = "task:"
_TIMER: Final = re.compile(r"timer:([0-9]{1,12}(?:\.[0-9]{1,6})?)|until:(-?[0-9]{1,18})")


def task_of(key: str) -> str | None:
    """Return the name of the task that a key of an entry or an attempt stands for; None for a timer's."""
    if not key.startswith(_TASK):
        return None
    # `task:name:digest:n`, or `task:name@key`; names are tokens, so neither sign is in one.
    return key.removeprefix(_TASK).partition("@")[0].partition(":")[0]


def timer_of(key: str) -> tuple[Literal["for", "until"], int] | None:
    """Return the length or the date, in microseconds, of the timer that a key stands for; None for any other key."""
    if not (found := _TIMER.fullmatch(key)):
        return None
    seconds, moment = found.groups()
    return ("until", int(moment)) if seconds is None else ("for", round(float(seconds) * 1_000_000))


def failed_try(task: str | None, attempt: int, *, type: str, message: str) -> str:
    """Return why a run waits for the next attempt of a task: the last one, and what it raised."""
    return f"task {task} failed at attempt {attempt}: {type}: {message}"
