"""Own what is said on stderr, as JSON, of an error that ended a command."""

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
