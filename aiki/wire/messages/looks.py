"""Own the messages by which a daemon asks the worker that holds a run what stands of it in memory.

They are pushes, not requests of a client: a worker that does not answer in time is not known of.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from aiki.wire.limits import LOOKED_ITEMS, LOOKED_MOST, PROGRESS_CHARS
from aiki.wire.messages.base import Text


class Look(Struct, array_like=True):
    """A daemon's question to a session: what stands of this run in your memory?"""

    run_id: Text
    items: Annotated[int, Meta(ge=1)] = LOOKED_ITEMS
    """How many of its tries and calls to tell, LOOKED_MOST at most."""


class LookedTry(Struct, array_like=True):
    """A try of a task that runs now; times are the database's, in microseconds.

    `spoke_at` is that of its last sign of life, None if it has given none.
    """

    key: Text
    task: Text
    attempt: int
    started: int | None = None
    spoke_at: int | None = None
    fraction: float | None = None
    message: Annotated[str, Meta(max_length=PROGRESS_CHARS)] = ""


class Looked(Struct, omit_defaults=True):
    """What stands of a run in the memory of a worker at `now`; nothing of what it was called with, or has come to."""

    now: int
    held: bool = True
    """False: it does not hold the run, or not any more."""
    phase: Text = ""
    """reading, live, lingering, returning or ending."""
    tries: Annotated[list[LookedTry], Meta(max_length=LOOKED_MOST)] = []
    """Those that began first."""
    running: int = 0
    """All tries that run."""
    calls: Annotated[list[Text], Meta(max_length=LOOKED_MOST)] = []
    """The keys of the first calls that have no outcome yet."""
    waiting: int = 0
    """All such calls."""
    lines: Annotated[list[Text], Meta(max_length=LOOKED_ITEMS)] = []
    """Where branches of the body stand: `file:line in function`."""
    wakes_at: int | None = None
    """When the run moves by itself, if nothing comes before."""
    lingers_since: int | None = None
    """Since when it has waited in memory for what may come; None if it does not."""
    held_back: Text | None = None
    """Why what is ready does not go on, in words."""
