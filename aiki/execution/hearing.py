"""Own what a run has heard of its inbox, and whether it is to be read: once for all that was heard before.

Whatever number is heard, it leads to one read at most: whoever sees a worker's inbox may write there.
"""

from __future__ import annotations


class Hearing:
    """News of one run."""

    __slots__ = ("_asked", "_heard")

    def __init__(self) -> None:
        self._heard = 0
        self._asked: int | None = None
        """What had been heard when the read began that is under way."""

    def hear(self, number: int) -> bool:
        """Take in that arrivals up to this number have come; tell whether to read now."""
        self._heard = max(self._heard, number)
        if self._asked is not None:
            return False
        self._asked = self._heard
        return True

    def is_behind(self) -> bool:
        """Take in that the read is answered; tell whether to read again, since more was heard after it began."""
        if self._heard == self._asked:
            self._asked = None
            return False
        self._asked = self._heard
        return True
