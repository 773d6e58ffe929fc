"""Own the messages of what persons have runs do. An order goes to many runs in one commit, and each has its answer."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from aiki.core.states import State
from aiki.wire.messages.arrivals import REASON_CHARS
from aiki.wire.messages.base import Request, Text
from aiki.wire.messages.runs import Ids


class Ordered(Struct, omit_defaults=True):
    """What has become of an order to one run, and the run's state since.

    It is `done`, also if it had been before; `requested`, and done when the run's claim ends; `too_late` for one that
    has ended; `refused` in its state; `unknown` if there is no such run.
    """

    result: Literal["done", "requested", "too_late", "refused", "unknown"]
    state: State | None = None


class OrderReply(Struct):
    """One Ordered per id, in order."""

    outcomes: list[Ordered]


class Pause(Request[OrderReply]):
    """Hold runs until they are resumed. One that runs lets its running tasks end first, and starts no others."""

    op = "pause"
    reply = OrderReply
    ids: Ids
    actor: Text | None = None


class Resume(Request[OrderReply]):
    """Let paused, blocked and retrying runs go on, and take back a pause that was not carried out yet."""

    op = "resume"
    reply = OrderReply
    ids: Ids
    actor: Text | None = None


class Cancel(Request[OrderReply]):
    """Cancel runs. One that has begun is told, and ends by itself when it has taken back what it did.

    Idempotent: the first cancel stands, and no other interrupts what it has led to. But one with `force` does: it ends
    each run at once, whatever that has done or is doing.
    """

    op = "cancel"
    reply = OrderReply
    ids: Ids
    actor: Text | None = None
    reason: Annotated[str, Meta(max_length=REASON_CHARS)] | None = None
    force: bool = False


class Wake(Request[OrderReply]):
    """End the sleep that goes on in runs, and the wait of those that are scheduled; never a timeout.

    Idempotent by `id`, a UUID made by the client. A run that runs keeps UNREAD_WAKES of them, until it has read some.
    """

    op = "wake"
    reply = OrderReply
    ids: Ids
    actor: Text | None = None
    id: Text = ""
