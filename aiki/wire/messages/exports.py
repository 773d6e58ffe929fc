"""Own the messages by which a run leaves the database whole, to be replayed or looked at elsewhere."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Raw, Struct

from aiki.core.states import State
from aiki.wire.limits import LIST_ITEMS, WAITED_WORDS
from aiki.wire.messages.base import NONE, Request, Text
from aiki.wire.messages.imported import ImportedFrom
from aiki.wire.messages.workers import Claimed

Waits: TypeAlias = Annotated[list[Text], Meta(max_length=WAITED_WORDS + 2)]
"""What a run rests for: an event as `event:NAME`, other kinds of arrivals by their names."""


class Exported(Struct, omit_defaults=True):
    """A run as a claim would bring it, without a claim: `run.fence` has the number of its last one and no claim_id.

    What of journal, tries and ends of children does not come along is read by `Page` and `Inbox`, as a worker does. An
    input that fits no message beside the output is null: it is read by `Input`.
    """

    run: Claimed
    state: State
    created_at: int = 0
    finished_at: int | None = None
    output: Raw = NONE
    error: Raw = NONE
    why: str | None = None
    imported: ImportedFrom | None = None
    """Where it was imported from, if it was; the state is then that of there."""
    waits: Waits = []
    """Empty while it is queued, held or paused, and of one that was imported: what it waits for is not known then."""
    due_at: int | None = None
    """Until when it rests; None if it does not, or has no date."""


class ExportReply(Struct, omit_defaults=True):
    """The runs that were found; of the last `rest` ids of the request nothing is said, since it did not fit."""

    runs: list[Exported]
    now: int
    rest: int = 0


class Export(Request[ExportReply]):
    """Read runs as their next claims would find them. Nothing changes."""

    op = "export"
    reply = ExportReply
    ids: Annotated[list[Text], Meta(max_length=LIST_ITEMS)]
