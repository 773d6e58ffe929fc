"""Own what is said of a run that was imported, wherever it is shown."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from aiki.core.states import State
from aiki.wire.limits import WHY_CHARS
from aiki.wire.messages.base import Text

Why: TypeAlias = Annotated[str, Meta(max_length=WHY_CHARS)]
"""A reason, with its diff."""


class ImportedFrom(Struct, omit_defaults=True):
    """Where an imported run comes from, and how it stood there when it was exported."""

    namespace: Text
    state: State
    exported_at: int
    imported_at: int = 0
    actor: Text | None = None
    """Who has imported it."""
    why: Why | None = None
    """What was said of it there."""
    is_partial: bool = False
    """Its import was not completed: a repeat does that."""
    origin: Text | None = None
    """The first run of its origin there, if that was not itself: here it is of none but its own."""
