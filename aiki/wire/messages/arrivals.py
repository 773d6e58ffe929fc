"""Own the messages of what reaches a run: arrivals in its inbox, how they are sent, read and told of.

An arrival has a number, which rises by one with each that reaches the run, and a time, which rises with it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct

from aiki.core.states import State
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages.base import NONE, NULL, Request, Text
from aiki.wire.messages.options import NO_OPTIONS, ParentClose, RunOptions

REASON_CHARS: Final = 1_000


class Arrival(Struct, array_like=True):
    """What has reached a run: an event, the outcome of an op of its own, a cancel, a wake, word of a task's key.

    `name` is an event's name; of an op's outcome the op's id, and `value` the Outcome; of a child's end the id by which
    its parent knows it, and `value` the ChildEnd; of a task's key the call that may ask for it again. `id` is that of
    the send.
    """

    number: int
    at: int
    kind: Literal["event", "op", "child", "cancel", "wake", "key"]
    name: str = ""
    value: Raw = NULL
    id: str = ""


class ChildEnd(Struct, omit_defaults=True):
    """What the arrival of a child's end carries: the run that has ended, how, and what it came to.

    Output and error stand with the child alone: they are put in when the arrival is read.
    """

    run_id: str
    state: State
    output: Raw = NONE
    error: Raw = NONE
    """A `Failure`, if it failed."""


class CancelNote(Struct, omit_defaults=True):
    """What the arrival of a cancel carries: whether somebody `requested` it, the run's own `timeout` is over, or its
    `parent` is cancelled or has ended."""

    reason: Literal["requested", "timeout", "parent"] = "requested"
    why: str | None = None
    actor: str | None = None

    def words(self) -> str:
        """Return who wants the run to end, and why, for a person."""
        if self.reason == "timeout":
            return "its deadline has passed"
        if self.reason == "parent":
            return "its parent was cancelled or has ended"
        wants = f"{self.actor or 'somebody'} wants it cancelled"
        return wants if self.why is None else f"{wants}: {self.why}"


class SendOp(Struct, array_like=True):
    """An event that a run sends, in its unit and under its fence. What became of it reaches it as an arrival."""

    id: Text
    run_id: Text
    """Whom it is sent to."""
    name: Text
    value: Raw = NULL
    key: Text | None = None
    digest: Text | None = None


class StartOp(Struct, array_like=True):
    """A child that a run starts: `id` becomes that of its run, and a repeat is the same.

    One with a key has an outcome, `Started`, which reaches the parent as an arrival of the kind `op`.
    """

    id: Text
    workflow: Text
    version: Text
    input: Raw
    options: RunOptions = NO_OPTIONS
    digest: Text | None = None
    parent_close: ParentClose = "cancel"


class Started(Struct, omit_defaults=True):
    """What became of the start of a child with a key: `run_id` is the run that it stands for.

    It was `started`, or is that of an `existing` run, whose end the parent hears of, and which it does not own. Or
    there is none: with that key another input was used (`conflict`), or the run waits for the parent (`circle`).
    """

    result: Literal["started", "existing", "conflict", "circle"]
    run_id: str
    message: str | None = None


class StopOp(Struct, array_like=True):
    """A child that a run cancels: `run_id` is the id of the start.

    What became of it reaches the parent as an arrival of the kind `op`, an `Outcome`: `taken`, or `ended`.
    """

    id: Text
    run_id: Text
    reason: Annotated[str, Meta(max_length=REASON_CHARS)] | None = None


class Sent(Struct, omit_defaults=True):
    """An event that is sent from outside. `id` is a UUID made by the sender: a repeat is the same event.

    So is what has the same idempotency `key` and name, if the value is the same, too, by its `digest`: blake2b-128 of
    its canonical form, in hex; required with a key.
    """

    run_id: Text
    id: Text
    name: Text
    value: Raw = NULL
    key: Text | None = None
    digest: Text | None = None


class Outcome(Struct, omit_defaults=True):
    """What became of an event: `taken` into the inbox (or `repeated`, if it had been before), or why it was not.

    The run has `ended` (`state` says how), has too many unread events (`full`), or is `unknown`; with that key another
    value was sent (`conflict`); the event itself is `refused`. One that was `imported` takes none.
    """

    result: Literal["taken", "repeated", "ended", "full", "conflict", "unknown", "refused", "imported"]
    state: State | None = None
    message: str | None = None


class SendReply(Struct):
    """One Outcome per event, in order. What can be taken is taken even if others were refused."""

    outcomes: list[Outcome]


class Send(Request[SendReply]):
    """Send events to runs, in one commit. Idempotent by their ids, also after a run has taken one from its inbox."""

    op = "send"
    reply = SendReply
    items: Annotated[list[Sent], Meta(max_length=BATCH_RUNS)]


class InboxReply(Struct, omit_defaults=True):
    """What is unread in a run's inbox, in order, as much as fits.

    `news` is the highest number that was really read: `after` for the next page, if there is `more`.
    """

    arrivals: list[Arrival] = []
    news: int = 0
    more: bool = False
    wanted: str | None = None
    """What somebody wants of the run (`pause`)."""


class Inbox(Request[InboxReply]):
    """Read what is unread in a run's inbox beyond number `after` (0 reads from the start).

    With `ends` read the ends of children that entries of its generation have taken, in place of that. A run that has
    `ended` is not found unless it is asked for.
    """

    op = "inbox"
    reply = InboxReply
    run_id: Text
    after: int = 0
    ends: bool = False
    ended: bool = False


class Told(Struct, omit_defaults=True):
    """Pushed to the session that holds these runs: each has arrivals up to this number, or something is wanted of it.

    It may get lost: the next renewal says so, too. Where little has come to a run, it may come along in `arrivals`, in
    order: who has read all before it need not read it.
    """

    runs: list[tuple[str, int]]
    arrivals: dict[str, list[Arrival]] = {}
