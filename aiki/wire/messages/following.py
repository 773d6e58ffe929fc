"""Own the messages of those who follow runs in full, or a namespace: what is told of each change, and what was missed.

What is told goes on from a number of the run's journal. Whoever lacks something before it asks again, and says up to
where it has seen.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from aiki.core.states import State
from aiki.wire.limits import FOLLOWED_RUNS
from aiki.wire.messages.base import Request, Text
from aiki.wire.messages.runs import RunStatus
from aiki.wire.messages.summary import SummaryReply
from aiki.wire.messages.why import Explained


class Seen(Struct, array_like=True):
    """A run, and what its follower has of it: the journal of a generation up to an entry."""

    id: Text
    generation: int = 0
    journal_seq: Annotated[int, Meta(ge=0)] = 0


class CallOutcome(Struct, array_like=True):
    """What a durable call has come to: the entry `seq` of the journal, without what it was made with and brought."""

    seq: int
    key: str
    ok: bool
    at: int
    started: int | None = None
    attempt: int = 1
    error: str = ""
    """Of one that failed, in one line."""
    run_id: str | None = None
    """Of a child's end whose child it is, if the entries that are told say it."""
    worker: str | None = None
    """Of a copy alone."""


class OpenCall(Struct, array_like=True):
    """A durable call that has no outcome yet."""

    key: str
    state: Literal["running", "retrying", "waiting"]
    attempt: int = 1
    started: int | None = None
    next_at: int | None = None
    """When its next try is due, or its time is over."""
    error: str = ""
    fraction: float | None = None
    message: str = ""
    run_id: str | None = None
    """Of a child."""


class RunFeed(Struct, omit_defaults=True):
    """A run in full at `now`: as it stands, what its journal has brought after entry `since`, and what is open.

    Of its outcomes the newest FOLLOWED_CALLS are told at most, of those that do not fit a message the newest.
    """

    now: int
    run: RunStatus
    since: int
    journal_seq: int
    history_seq: int
    outcomes: list[CallOutcome] = []
    open: list[OpenCall] = []
    done: int = 0
    """Calls of its generation that have an outcome."""
    failed: int = 0
    children: dict[State, int] = {}
    explained: Explained | None = None
    """Why it does not move, if it has not ended."""
    started: list[tuple[str, str]] = []
    """Children that these entries have started: what follows the kind in the keys of their starts, and their ids."""


class FollowReply(Struct, omit_defaults=True):
    """The runs that were found; any other that was asked for does not exist.

    But of the last `rest` ids of the request nothing is said, since it did not fit: ask again for them.
    """

    runs: list[RunFeed]
    rest: int = 0


class Follow(Request[FollowReply]):
    """Read runs in full, and have each later change pushed to `inbox` as `FeedNews` for `seconds`.

    They are told at most four times a second, the last state always, and each five seconds also where nothing has
    changed: whoever hears nothing for longer asks again. Those beyond what a daemon remembers are answered alone.
    """

    op = "follow"
    reply = FollowReply
    runs: Annotated[list[Seen], Meta(max_length=FOLLOWED_RUNS)]
    inbox: Text
    seconds: float


class FeedNews(Struct, omit_defaults=True):
    """Pushed to the inbox of whoever follows runs. Those that are `gone` do not exist any more."""

    feeds: list[RunFeed] = []
    gone: list[str] = []


class FollowNamespace(Request[SummaryReply]):
    """Read the namespace's summary, and have it pushed to `inbox` as a `SummaryReply` for `seconds`.

    It is pushed at most twice a second, if something has changed, and each five seconds else.
    """

    op = "follow_namespace"
    reply = SummaryReply
    inbox: Text
    seconds: float
