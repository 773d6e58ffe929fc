"""Own the messages that ask why runs do not move, and tell it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from aiki.core.reasons import Reason
from aiki.core.states import State
from aiki.wire.limits import WHY_RUNS
from aiki.wire.messages.base import Request, Text


class Explained(Struct, omit_defaults=True):
    """Why one run does not move: the main reason first, and what is to be known beside that."""

    id: str
    workflow: str
    version: str
    state: State
    claims: int
    reasons: list[Reason]
    path: list[str] = []
    """From it through those that wait for one another, to the one in which that ends; empty if that is itself."""
    leaf: list[Reason] = []
    """Why the last of these does not move."""


class WhyReply(Struct, omit_defaults=True):
    """The runs that were found, in the order asked, and the time; any other that was asked about does not exist.

    But of the last `rest` ids of the request nothing is said, since it did not fit: ask again for them.
    """

    now: int
    runs: list[Explained]
    rest: int = 0


class Why(Request[WhyReply]):
    """Say why runs do not move, or are not over yet. With `look` the workers that hold them are asked, too."""

    op = "why"
    reply = WhyReply
    ids: Annotated[list[Text], Meta(max_length=WHY_RUNS)]
    look: bool = True
