"""Own the words for the tasks of a run: which one a key stands for, and what is said of a try that failed. Pure."""

from __future__ import annotations

from typing import Final

_TASK: Final = "task:"


def task_of(key: str) -> str | None:
    """Return the name of the task that a key of an entry or an attempt stands for; None for a timer's."""
    if not key.startswith(_TASK):
        return None
    # `task:name:digest:n`, or `task:name@key`; names are tokens, so neither sign is in one.
    return key.removeprefix(_TASK).partition("@")[0].partition(":")[0]


def failed_try(task: str | None, attempt: int, *, type: str, message: str) -> str:
    """Return why a run waits for the next attempt of a task: the last one, and what it raised."""
    return f"task {task} failed at attempt {attempt}: {type}: {message}"
