"""The kind `patch`: decided at once, and recorded if the new side of the change is taken.

A patch that the code no longer asks for is harmless: whatever it led to has entries of its own.
"""

from __future__ import annotations

from aiki.core.keys import PATCH, named, said_in
from aiki.execution.kind import Asker
from aiki.inside.workflow_run import Patched
from aiki.wire.messages import NULL, Entry


class Patches:
    """Changes of code that runs in flight do not take part in."""

    at_once = True
    may_stay_unasked = True

    def ask(self, body: Asker, ask: Patched, /) -> bool:
        """Tell whether the change is recorded: a run that has been here before it was made has no entry of it."""
        return body.decide(named(PATCH, ask.change_id), NULL) is not None

    def recorded(self, entry: Entry, /) -> str:
        """Return how the code asked for it."""
        return f"patched({said_in(entry.key)!r})"
