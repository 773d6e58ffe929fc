"""Own what this daemon knows of those who wait for keys of tasks: whether there are any, and which keys are over.

Only what this daemon has done, or has seen: what others do they tell of themselves, or it is found by a look.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aikid.store.task_keys import KeyId
from aikid.tell.alarm import Alarm

SOON_SECONDS: Final = 0.05
"""Many commits may each free a key: they are looked for together."""
WAITED_SECONDS: Final = 1.0
UNWAITED_SECONDS: Final = 60.0


class Lines:
    """When to look for keys that may be asked for again, and for which."""

    def __init__(self) -> None:
        self.alarm = Alarm()
        self.are_any = False
        """Whether anybody waits for a key, as far as is known."""
        self._over: set[KeyId] = set()
        self._has_begun = False

    @property
    def every_seconds(self) -> float:
        """How long not to look, if nothing is heard of."""
        return WAITED_SECONDS if self.are_any else UNWAITED_SECONDS

    def over(self, keys: Iterable[KeyId]) -> None:
        """Take note that these keys are done or were given back, and are waited for."""
        self._over.update(keys)
        self.are_any = True
        self.alarm.ring()

    def begun(self) -> None:
        """Take note that somebody waits."""
        self.are_any = self._has_begun = True
        self.alarm.due_in(WAITED_SECONDS)

    def may_be_free(self) -> None:
        """Take note that runs have left their claims, or stand otherwise: what they had may be free."""
        if self.are_any:
            self.alarm.due_in(SOON_SECONDS)

    def take(self) -> list[KeyId]:
        """Return the keys that are over, once: a look begins."""
        self._has_begun = False
        keys = sorted(self._over)
        self._over.clear()
        return keys

    def looked(self, *, found: bool) -> None:
        """Take note of whether a look has found anybody who waits; it may be older than what was heard meanwhile."""
        self.are_any = found or self._has_begun
