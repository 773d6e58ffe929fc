"""Own what the start of a child means: when it is refused, and what it takes of its parent. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from aiki.wire.messages import NewRun, Recorded, StartOp

DEPTH: Final = 100
"""How many ancestors a run has at most."""
TOO_DEEP: Final = Recorded(
    "refused",
    f"it has {DEPTH} ancestors, and cannot start another child: a workflow that starts itself has to end somewhere",
)
FOREIGN: Final = "the id {} of a child that it starts is in use by another run"


def child(op: StartOp, *, priority: int) -> NewRun:
    """Return the run that a start makes, of a parent of this priority: it has the same if nothing else is said."""
    options = op.options
    if options.priority is None and priority:
        options = structs.replace(options, priority=priority)
    return NewRun(op.id, op.workflow, op.version, op.input, options, op.digest)


def is_too_deep(depth: int) -> bool:
    """Tell whether a run that has so many ancestors can start no child."""
    return depth >= DEPTH
