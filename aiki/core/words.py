"""Own what is said of a try that failed, wherever it is said. Pure."""

from __future__ import annotations


def failed_try(task: str | None, attempt: int, *, type: str, message: str) -> str:
    """Return why a run waits for the next attempt of a task: the last one, and what it raised."""
    return f"task {task} failed at attempt {attempt}: {type}: {message}"
