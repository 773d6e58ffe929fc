"""Own the messages of what persons have runs do. An order goes to many runs in one commit, and each has its answer."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from aiki.core.states import State
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages.arrivals import REASON_CHARS
from aiki.wire.messages.base import Request, Text
from aiki.wire.messages.runs import Ids


class Ordered(Struct, omit_defaults=True):
    """What has become of an order to one run, and the run's state since.

    It is `done`, also if it had been before; `requested`, and done when the run's claim ends; `too_late` for one that
    has ended; `refused` in its state; `unknown` if there is no such run. One
    that was `imported` obeys nobody.
    """

    result: Literal["done", "requested", "too_late", "refused", "unknown", "imported"]
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
    reason: Annotated[str, Meta(max_length=REASON_CHARS)] | None = None


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


class Moved(Struct, omit_defaults=True):
    """What has become of the order that one run be of another version, and the run's state since.

    It is `done`, also if it had been before; `too_late` for one that has ended; `imported`, or `refused` in its state;
    `changed` if it was claimed since it was looked at; `unregistered` if no worker has ever served the version;
    `unknown` if there is no such run.
    """

    result: Literal["done", "too_late", "imported", "refused", "changed", "unregistered", "unknown"]
    state: State | None = None


class MoveReply(Struct):
    """One Moved per id, in order."""

    outcomes: list[Moved]


class MoveRuns(Request[MoveReply]):
    """Have runs be carried out by another version: those that are queued, scheduled, paused or blocked.

    What is blocked is queued again, unless it is `keep_blocked`. With `claims`, one per id, it is done of those alone
    that were claimed as often. By `force` no worker need have served the version.
    """

    op = "move"
    reply = MoveReply
    ids: Ids
    version: Text
    actor: Text | None = None
    claims: Annotated[list[Annotated[int, Meta(ge=0, lt=1 << 31)]], Meta(max_length=BATCH_RUNS)] = []
    keep_blocked: bool = False
    force: bool = False
