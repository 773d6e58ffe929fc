"""Own what is said, as JSON, of errors: of one that ended a command, on stderr, and of what a run came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """An error, and what to do next."""

    code: str
    """Stable."""
    exit: int
    """The exit code."""
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class CommandError:
    """What ended a command: one object on stderr, with -o json and -o jsonl."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class OutcomeError:
    """What a run came to that has no result."""

    type: str
    """The class of the exception, of a run that failed; else a stable code."""
    message: str
    traceback: str | None = None
