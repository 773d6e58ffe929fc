"""Own what is said of a try that failed, and of who wants a run paused, wherever it is said. Pure."""

from __future__ import annotations

from typing import Final

_PAUSED: Final = " wants it paused"


def wants_paused(actor: str | None, reason: str | None) -> str:
    """Return why a run is paused, or is to be: who wants that, and why."""
    wants = f"{actor or 'somebody'}{_PAUSED}"
    return wants if reason is None else f"{wants}: {reason}"


def paused_by(why: str | None) -> tuple[str | None, str | None]:
    """Return who wants a run paused, and why, by what is said of it."""
    actor, is_said, reason = (why or "").partition(_PAUSED)
    return (actor, reason.removeprefix(": ") or None) if is_said else (None, None)


def failed_try(task: str | None, attempt: int, *, type: str, message: str) -> str:
    """Return why a run waits for the next attempt of a task: the last one, and what it raised."""
    return f"task {task} failed at attempt {attempt}: {type}: {message}"
