"""Own the word for a value that cannot be stored: why, where it stands, and what to write instead."""

from typing import Final

from aiki.core.errors import PayloadError

_PATH_CHARS: Final = 200


class Misfit(Exception):
    """A value that cannot be stored, and where it stands. Inside Aiki only: callers get a PayloadError."""

    def __init__(self, reason: str, path: str = "", *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.hint = hint

    def inside(self, step: str) -> "Misfit":
        """Return the same with one step of the path put in front: `.name` or `[0]`."""
        self.path = step + self.path
        return self

    def to_error(self, owner: str) -> PayloadError:
        """Return what the user sees."""
        path = self.path if len(self.path) <= _PATH_CHARS else f"{self.path[:_PATH_CHARS]}…"
        return PayloadError(f"{owner}: {self.reason} at `${path}`", hint=self.hint)
