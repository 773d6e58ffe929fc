"""Own the messages of workers: sessions, claims, and what claims come to."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from aiki.core.states import Move
from aiki.wire.limits import (
    BATCH_RUNS,
    CLAIM_RUNS,
    HELD_CLAIMS,
    LABELS,
    ROUTES,
    SLOTS_TOLD,
    UNIT_ITEMS,
    UNREAD_EVENTS,
    WAITED_WORDS,
    WHY_CHARS,
)
from aiki.wire.messages.arrivals import Arrival, SendOp, StartOp, StopOp
from aiki.wire.messages.base import NONE, NULL, Attempt, Request, Text
from aiki.wire.messages.options import Fired
from aiki.wire.messages.runs import Route
from aiki.wire.messages.task_keys import KeyAnswer, KeyAsk


class CodeChange(Struct, omit_defaults=True):
    """A route of which this session has other code than what was registered before, while `runs` of it are in flight.

    Only those count that were started before, and no more than COUNTED_RUNS. `since` is when the other code was
    registered, `worker` by whom, `python` by which version of it.
    """

    workflow: str
    version: str
    runs: int
    since: int
    worker: str
    python: str = ""
    capped: bool = False


class SessionReply(Struct, omit_defaults=True):
    """The lease after the request. `ttl` is in seconds; `now` is the database's clock.

    `unlisted` names runs of this session that were claimed more than TTL/3 ago and whose claim was not in `held`,
    though within its bounds; as many as fit. `news` names runs of this session with unread arrivals, or of which
    something is wanted, and up to which number these go: so a lost `Told` costs seconds. `short` names claims that have
    fewer runs than the request says: some run has ended without its worker, or the answer to its end is under way.
    `changed` answers an opening, and a repeat of it alike.
    """

    alive: bool
    now: int
    ttl: float = 30.0
    unlisted: list[Fence] = []
    news: list[tuple[str, int]] = []
    short: list[str] = []
    changed: list[CodeChange] = []


class OpenSession(Request[SessionReply]):
    """Open a worker session and register its routes. Idempotent by `id`, a UUID made by the worker.

    The first request names all that it serves. Further requests of the same id bring schemas that did not fit it, and
    routes that are served from then on, too; they do not renew it. `alive` is false if a session of this id has ended:
    make a new id.
    """

    op = "session_open"
    reply = SessionReply
    id: Text
    worker: Text
    routes: Annotated[list[Route], Meta(max_length=ROUTES)]
    ttl: float = 30.0
    slots: Annotated[int, Meta(ge=1, le=SLOTS_TOLD)] | None = None
    """Runs that it takes at once."""


class RenewSession(Request[SessionReply]):
    """Renew a live session. Never revives one that has ended: then `alive` is false and all its claims are lost."""

    op = "session_renew"
    reply = SessionReply
    id: Text
    held: Annotated[list[Text], Meta(max_length=HELD_CLAIMS)]
    """The claim_ids of all claims that still hold a run; if they do not fit a message, of those within these bounds:"""
    after: Text = ""
    until: Text | None = None
    """Claims up to and with this one, in the order of their bytes, and after the other; the next renewal lists on."""
    counts: Annotated[list[Annotated[int, Meta(ge=0, le=CLAIM_RUNS)]], Meta(max_length=HELD_CLAIMS)] = []
    """How many runs each claim in `held` still holds."""
    draining: bool = False
    """Whether it takes no more runs, and ends when those that it holds have been let go."""


class CloseSession(Request[SessionReply]):
    """End a session; runs it still holds are queued again at once."""

    op = "session_close"
    reply = SessionReply
    id: Text


class Fence(Struct, array_like=True):
    """What every write of a claim carries. `claim_id` is made anew by the worker for each claim request."""

    run_id: Text
    epoch: int
    claim_id: Text


class Entry(Struct, array_like=True):
    """One outcome that was delivered to the workflow.

    `value` is the result, or a `Failure` where `ok` is false. `turns` is set if the outcome was let into a body that
    could still move (a spinning one): after so many handles. `asked` is the number of the delivery before its call was
    asked. `takes` are the numbers of the arrivals that it consumes.

    What people look for does not come back to workers: when the try that came to this began, or else its call was
    asked (`started`), and what that was made with (`arguments`), or a text that is the beginning of it.
    """

    key: Text
    ok: bool
    value: Raw
    at: int
    turns: int | None = None
    asked: int = 0
    takes: Annotated[tuple[int, ...], Meta(max_length=UNREAD_EVENTS)] = ()
    started: int | None = None
    arguments: Raw = NULL


class Failure(Struct, omit_defaults=True):
    """An error as it is stored: never pickled, never rebuilt as its original class."""

    type: str
    message: str
    traceback: str = ""
    cause: str | None = None
    task: str | None = None
    """The task that gave up, if one did."""
    attempts: int = 0
    unknown: bool = False
    """An `at_most_once` task whose worker died inside it."""
    cut: int | None = None
    """Of a run: the place in its journal, from 1, of the outcome that failed it; None if it failed by itself."""


class Claimed(Struct, omit_defaults=True):
    """A run that now belongs to the claiming session, with the first page of its journal."""

    fence: Fence
    origin_id: str
    workflow: str
    version: str
    input: Raw
    claims: int
    """How many times workers have taken it up, this one included."""
    started_at: int
    """The time of the first claim."""
    key: str | None = None
    labels: dict[str, str] = {}
    entries: list[Entry] = []
    length: int = 0
    """Entries in the whole journal; those after the first page are read by `Page`."""
    attempts: list[Attempt] = []
    """The last try of each task that has one, without what went wrong; none if they did not fit the reply."""
    tries: int = 0
    """How many such tries there are; those that did not fit are read by `Page`."""
    suspect: bool = False
    """It has killed workers before."""
    attempt: int = 1
    """The attempt of the workflow itself."""
    generation: int = 0
    """Which life of the run this is."""
    news: int = 0
    """The highest number of an arrival that was really read for this reply."""
    arrivals: list[Arrival] = []
    """What is unread, oldest first, as much as fits."""
    unread: int = 0
    """All that is unread, at least; if there is more than came along, it is read by `Inbox`."""
    wanted: str | None = None
    """What somebody wants of the run (`pause`) since it was claimed, as far as that was read."""
    parent: str | None = None
    """The run that has started it, if one has."""
    depth: int = 0
    """How many ancestors it has."""
    priority: int = 0
    """Its own: its children have it, too, if nothing else is said."""
    retry: Raw = NONE
    """An `OwnRetry`, if there is anything said of it."""
    first_at: int | None = None
    """The time of the very first claim, if that was in an earlier generation."""
    fired: Fired | None = None
    """The slot of the schedule that it is of, or that the first of its origin was."""


class ClaimReply(Struct, omit_defaults=True):
    """The runs that were claimed (fewer than asked for, if no more were queued or the reply was full).

    `alive` is false if the session has ended. `more` says that the routes have further queued runs.
    """

    now: int
    alive: bool = True
    runs: list[Claimed] = []
    more: bool = False


class Claim(Request[ClaimReply]):
    """Claim up to `limit` queued runs of `routes`: by priority, within one started runs first, then enqueue time.

    The only request that must not be repeated: if its reply is lost, the next renewal finds the claim.
    """

    op = "claim"
    reply = ClaimReply
    session: Text
    claim_id: Text
    routes: Annotated[list[tuple[Text, Text]], Meta(max_length=ROUTES)]
    limit: int


class End(Struct, omit_defaults=True):
    """How a claim ends: `move` is release, sleep, wait, retry, again, continue, diverge, oversize, complete, fail or
    cancel.

    A park that says which arrivals were `seen` holds only if there are no others yet. What it `waits` for queues the
    run again: an event as `event:NAME`, other kinds of arrivals by their names.
    """

    move: Move
    output: Raw = NONE
    error: Raw = NONE
    due_at: int | None = None
    why: Annotated[str, Meta(max_length=WHY_CHARS)] | None = None
    seen: int | None = None
    waits: Annotated[list[Text], Meta(max_length=WAITED_WORDS + 2)] = []
    parent: bool = False
    """Whether the run has a parent, which hears of an end in the same commit."""
    input: Raw = NONE
    """That of the next generation, which a `continue` begins."""
    version: Text | None = None
    """By which version that is carried out, if it is another one."""
    ends: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    """Of a park that waits for children: how many must end before that is worth a claim. All else wakes it at once."""
    anew: bool = False
    """Of an `again`: it begins anew, in the next generation. If not, the unit's last entry is that of the retry."""


class TimerAsk(Struct, array_like=True):
    """A timer that may fire only if no arrival came first: `entry` is written if the daemon says so.

    It was decided on what was `seen` then, not when it is sent.
    """

    entry: Entry
    due: int
    seen: int


class Unit(Struct, array_like=True):
    """What one claim writes at a time, all or none: at most one unit per run is in flight.

    `base` is the number of entries that the run's journal holds before these; `end` gives the claim up. An asked
    `timer` follows the entries, and a unit that has one has no end. Children are started before anything is sent.
    `labels` are all that the run has from now on, if they have changed. `keys` are of tasks, and other runs may have
    them.
    """

    fence: Fence
    base: int
    entries: Annotated[list[Entry], Meta(max_length=UNIT_ITEMS)]
    attempts: Annotated[list[Attempt], Meta(max_length=UNIT_ITEMS)]
    end: End | None = None
    ops: Annotated[list[SendOp], Meta(max_length=UNIT_ITEMS)] = []
    timer: TimerAsk | None = None
    starts: Annotated[list[StartOp], Meta(max_length=UNIT_ITEMS)] = []
    stops: Annotated[list[StopOp], Meta(max_length=UNIT_ITEMS)] = []
    labels: Annotated[dict[Text, Text], Meta(max_length=LABELS)] | None = None
    keys: Annotated[list[KeyAsk], Meta(max_length=UNIT_ITEMS)] = []


class Recorded(Struct, array_like=True):
    """What became of a unit: `done` (also when it was repeated), `fenced`, or `conflict`.

    It is a conflict if another outcome stands there, or the inbox does not hold what it takes or its worker saw.
    After `fenced` and `conflict` the worker drops the run. `refused` is bad data, with its reason: it fails the run.
    """

    result: Literal["done", "fenced", "conflict", "refused"]
    reason: str | None = None
    timer: Literal["done", "early", "news"] | None = None
    """Of its timer: it has fired, it is not due yet, or there are arrivals that may come first."""
    parked: bool = True
    """False if its end was a park, and there was news: the rest of the unit stands, and the claim goes on."""
    news: int = 0
    """The number of the run's last arrival, where one was looked for."""
    keys: list[KeyAnswer] = []
    """Of each of its `keys`, in order, what became of it; none if the unit was not written."""


class RecordReply(Struct):
    """One Recorded per Unit, in order, and the database's clock."""

    now: int
    units: list[Recorded]


class Record(Request[RecordReply]):
    """Write what runs of one worker have come to, each under its own fence. Idempotent."""

    op = "record"
    reply = RecordReply
    units: Annotated[list[Unit], Meta(max_length=BATCH_RUNS)]


class PageReply(Struct, omit_defaults=True):
    """Journal entries or tries in order, as many as fit a page; none after the last."""

    entries: list[Entry] = []
    attempts: list[Attempt] = []


class Page(Request[PageReply]):
    """Read a claimed run's journal from entry `after` (0 reads from the start).

    With `tried_after` read the last try of each task instead, of those whose keys come after it ("" reads from the
    start).
    """

    op = "page"
    reply = PageReply
    run_id: Text
    after: int = 0
    tried_after: Text | None = None
