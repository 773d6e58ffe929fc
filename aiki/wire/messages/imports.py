"""Own the messages by which an exported run comes into a database, to be looked at: there it is never claimed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from aiki.core.states import State
from aiki.wire.limits import LIST_ITEMS, UNIT_ITEMS, UNREAD_EVENTS
from aiki.wire.messages.base import NONE, NULL, Request, Text
from aiki.wire.messages.imported import Why
from aiki.wire.messages.options import Fired
from aiki.wire.messages.workers import Entry


class ImportedRun(Struct, omit_defaults=True):
    """A run as it was exported, but for what stands beside it. Times are of the database that it comes from."""

    id: Text
    workflow: Text
    version: Text
    state: State
    input: Raw
    origin_id: Text
    created_at: int
    started_at: int
    """When the generation that it is in was claimed first, or would have been."""
    claims: int = 0
    finished_at: int | None = None
    output: Raw = NONE
    error: Raw = NONE
    """A `Failure`."""
    why: Why | None = None
    key: Text | None = None
    labels: Annotated[dict[Text, Text], Meta(max_length=LIST_ITEMS)] = {}
    priority: int = 0
    attempt: int = 1
    generation: int = 0
    first_at: int | None = None
    """When its first generation was claimed first, if it is in a later one."""
    parent: Text | None = None
    depth: int = 0
    retry: Raw = NONE
    """An `OwnRetry`."""
    fired: Fired | None = None
    suspect: bool = False
    news: int = 0
    """The number of the last arrival of which it is known whether it is here."""
    entries: int = 0
    """How many there are in its journal."""


class ImportedArrival(Struct, array_like=True, omit_defaults=True):
    """An `Arrival`."""

    number: int
    at: int
    kind: Literal["event", "op", "child", "cancel", "wake", "key"]
    name: Text = ""
    value: Raw = NULL
    id: Text = ""


class ImportedTry(Struct, array_like=True, omit_defaults=True):
    """An `Attempt`, and where it stands in the story: by which claim, and how long the journal was."""

    key: Text
    attempt: int
    error: Raw = NULL
    next_at: int | None = None
    details: Raw = NULL
    details_at: int | None = None
    at: int = 0
    epoch: int = 0
    length: int = 0


class ImportedMove(Struct, array_like=True, omit_defaults=True):
    """A line of the run's story, by its number in it; `length` is how long the journal was."""

    seq: int
    at: int
    move: Text
    reason: Why | None = None
    actor: Text | None = None
    length: int | None = None


class ImportReply(Struct, omit_defaults=True):
    """What has come of a part: it is `stored`, or the run `exists` whole.

    Or nothing is written: the id is `taken` by a run that was not imported; an `other` export of it was imported in
    part; or its last part came, and `missing` are some before.
    """

    result: Literal["stored", "exists", "taken", "other", "missing"]


class Import(Request[ImportReply]):
    """Store a part of a run that was exported; idempotent.

    The first part brings the `run`, `last` says that no other follows. `base` is how many entries stand before these.
    The run is in lists from the first part on, and `is_partial` until the last.
    """

    op = "import"
    reply = ImportReply
    id: Text
    namespace: Text
    """From which it was exported."""
    exported_at: int
    actor: Text | None = None
    run: ImportedRun | None = None
    """Without its output and its error."""
    output: Raw = NONE
    error: Raw = NONE
    base: int = 0
    entries: Annotated[list[Entry], Meta(max_length=UNIT_ITEMS)] = []
    tries: Annotated[list[ImportedTry], Meta(max_length=UNIT_ITEMS)] = []
    ends: Annotated[list[ImportedArrival], Meta(max_length=UNREAD_EVENTS)] = []
    unread: Annotated[list[ImportedArrival], Meta(max_length=UNREAD_EVENTS)] = []
    moves: Annotated[list[ImportedMove], Meta(max_length=UNIT_ITEMS)] = []
    last: bool = False
