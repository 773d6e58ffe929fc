"""Decide and commit what happens to the runs of dead sessions."""

from __future__ import annotations

from collections.abc import Sequence

from aiki.core.states import State, target
from aikid.engine.changes import Changes
from aikid.store.rescue import Rescued


def changes_of(taken: Sequence[Rescued]) -> Changes:
    """Return what changed for runs that were taken from their worker."""
    changes = Changes()
    for one in taken:
        state = target(one.move)
        if state is State.QUEUED:
            changes.queued[one.namespace, one.workflow, one.version] += 1
        (changes.settled if state is State.BLOCKED else changes.changed)[one.namespace].append(one.id)
        changes.due_in(one.due_seconds)
    return changes
