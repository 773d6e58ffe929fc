"""Own the shape of each request and reply between clients, workers and the daemon.

A request names its operation (`op`) and the type of its reply, so that a caller gets a typed answer:
`await transport.call(Status([run_id]))` is a `StatusReply`. Times are microseconds since the epoch, UTC, of
the database's clock. A payload is `msgspec.Raw`: the daemon stores its bytes and never parses them.
Journal entries travel as arrays, because they are most of the bytes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

from msgspec import Raw, Struct

from aiki.core.states import Event, State

R = TypeVar("R")

NONE: Final = Raw(b"")
"""No payload. Falsy, and left out by `omit_defaults`; use this very object (msgspec cannot decode `Raw | None`)."""
NULL: Final = Raw(b"null")


class Request(Struct, Generic[R], omit_defaults=True):
    """The base of all requests; `R` is the reply's type, which `reply` holds at run time."""

    op: ClassVar[str]
    reply: ClassVar[Any]


# -- runs: enqueue and read


class NewRun(Struct, omit_defaults=True):
    """A run to be enqueued. `id` is made by the client: a repeated request is the same run."""

    id: str
    workflow: str
    version: str
    input: Raw
    key: str | None = None
    """The idempotency key, unique per (namespace, workflow)."""
    digest: str | None = None
    """blake2b-128 of the input's canonical form, in hex; required with `key`."""
    on_conflict: Literal["error", "existing"] = "error"
    priority: int = 0
    """-100 to 100; higher is claimed first."""
    labels: dict[str, str] = {}
    start_at: int | None = None
    delay: int | None = None
    """Microseconds from the commit; at most one of `start_at` and `delay`."""


class Enqueued(Struct, omit_defaults=True):
    """What became of one NewRun: the run's id (an earlier run's, if its key was known), or why it was refused."""

    id: str
    created: bool = True
    error: Refusal | None = None


class Refusal(Struct):
    """Why one item of a batch was refused; `code` is an error's wire code."""

    code: str
    message: str


class EnqueueReply(Struct):
    """One Enqueued per NewRun, in order. Valid items are committed even if others were refused."""

    runs: list[Enqueued]


class Enqueue(Request[EnqueueReply]):
    """Enqueue up to BATCH_RUNS runs in one commit. Idempotent by their ids.

    With `inbox` the runs are watched from their birth, as by `Watch`, without the read that a `Watch` begins with.
    """

    op = "enqueue"
    reply = EnqueueReply
    runs: list[NewRun]
    inbox: str | None = None


class RunStatus(Struct, omit_defaults=True):
    """A run as a reader sees it."""

    id: str
    workflow: str
    version: str
    state: State
    created_at: int
    attempt: int = 0
    """How many times the run was claimed."""
    started_at: int | None = None
    finished_at: int | None = None
    due_at: int | None = None
    """When a scheduled, sleeping or retrying run goes on."""
    key: str | None = None
    priority: int = 0
    labels: dict[str, str] = {}
    tasks: int = 0
    """Task outcomes in its journal."""
    output: Raw = NONE
    error: Raw = NONE
    """A `Failure` as JSON, if the run failed."""
    why: str | None = None
    """Why it is blocked, retrying after a crash, or queued without a worker that serves its route."""
    worker: str | None = None
    """The worker that runs it now."""


class StatusReply(Struct, omit_defaults=True):
    """The runs that were found, in no order. Those `left_out` did not fit: ask again. The rest does not exist."""

    runs: list[RunStatus]
    left_out: list[str] = []


class Status(Request[StatusReply]):
    """Read up to BATCH_RUNS runs."""

    op = "status"
    reply = StatusReply
    ids: list[str]


class Watch(Request[StatusReply]):
    """Read runs, and have each later change of state pushed to `inbox` as a `RunNews` for `seconds`.

    The push is best effort; a watcher asks again before `seconds` are over. Runs that ended are answered
    at once and not watched. With `ends_only` only terminal states, blocked and paused are pushed.
    """

    op = "watch"
    reply = StatusReply
    ids: list[str]
    inbox: str
    seconds: float
    ends_only: bool = True


class RunNews(Struct):
    """Pushed to a watcher's inbox. An id in `changed` was too large to push: read it."""

    runs: list[RunStatus]
    changed: list[str] = []


class FindReply(Struct):
    """Ids that match; more than one means that the reference is ambiguous. At most 10."""

    ids: list[str]


class Find(Request[FindReply]):
    """Resolve what a person types: an id, a prefix or suffix of one (at least 8 characters), or `workflow@key`."""

    op = "find"
    reply = FindReply
    reference: str


class ListReply(Struct, omit_defaults=True):
    """One page, newest first, without outputs; `cursor` asks for the next page."""

    runs: list[RunStatus]
    cursor: str | None = None


class ListRuns(Request[ListReply]):
    """List runs, newest first. `labels` must all match; `since` is a time."""

    op = "list"
    reply = ListReply
    states: list[State] = []
    workflow: str | None = None
    labels: dict[str, str] = {}
    since: int | None = None
    limit: int = 100
    cursor: str | None = None


class HistoryItem(Struct, omit_defaults=True):
    """One line of a run's story: a transition or a journal entry."""

    at: int
    event: str
    """An `Event`, `enqueued`, or `entry` for an outcome in the journal, `attempt` for a try that failed."""
    state: State | None = None
    reason: str | None = None
    actor: str | None = None
    key: str | None = None
    ok: bool | None = None
    value: Raw = NONE


class HistoryReply(Struct, omit_defaults=True):
    """The story in order of time; `cursor` asks for the next page."""

    items: list[HistoryItem]
    cursor: str | None = None


class History(Request[HistoryReply]):
    """Read a run's story."""

    op = "history"
    reply = HistoryReply
    id: str
    cursor: str | None = None


class InputReply(Struct):
    """The input that the run was enqueued with."""

    input: Raw


class Input(Request[InputReply]):
    """Read a run's input."""

    op = "input"
    reply = InputReply
    id: str


class ResumeReply(Struct):
    """The run after it was resumed."""

    run: RunStatus


class Resume(Request[ResumeReply]):
    """Queue a blocked or retrying run again. Conflict if its state forbids it; resuming a queued run is no error."""

    op = "resume"
    reply = ResumeReply
    id: str
    actor: str | None = None


class SummaryRow(Struct):
    """How many runs of a route are in a state."""

    workflow: str
    version: str
    state: State
    runs: int


class SummaryReply(Struct):
    """All routes with their counts, and how many worker sessions are alive."""

    rows: list[SummaryRow]
    workers: int


class Summary(Request[SummaryReply]):
    """Count the namespace's runs by route and state."""

    op = "summary"
    reply = SummaryReply


class Route(Struct, omit_defaults=True):
    """A workflow and version that a worker has registered. `parameters` is the JSON Schema of its input."""

    workflow: str
    version: str
    parameters: Raw = NONE
    task_names: list[str] = []
    live: bool = False
    """Whether a live worker serves it now (only in replies)."""


class WorkflowsReply(Struct):
    """Registered routes by name, newest version first."""

    routes: list[Route]


class Workflows(Request[WorkflowsReply]):
    """Read the routes that workers have ever registered, of one workflow or all."""

    op = "workflows"
    reply = WorkflowsReply
    workflow: str | None = None


# -- workers: session, claim, record


class SessionReply(Struct, omit_defaults=True):
    """The lease after the request. `ttl` is in seconds; `now` is the database's clock.

    `unlisted` names runs of this session that were claimed more than TTL/3 ago and whose claim was not in `held`.
    """

    alive: bool
    now: int
    ttl: float = 30.0
    unlisted: list[Fence] = []


class OpenSession(Request[SessionReply]):
    """Open a worker session and register its routes. Idempotent by `id`, a UUID made by the worker.

    `alive` is false if a session of this id has ended: make a new id.
    """

    op = "session_open"
    reply = SessionReply
    id: str
    worker: str
    routes: list[Route]
    ttl: float = 30.0


class RenewSession(Request[SessionReply]):
    """Renew a live session. Never revives one that has ended: then `alive` is false and all its claims are lost."""

    op = "session_renew"
    reply = SessionReply
    id: str
    held: list[str]
    """The claim_ids of all claims that still hold a run."""


class CloseSession(Request[SessionReply]):
    """End a session; runs it still holds are queued again at once."""

    op = "session_close"
    reply = SessionReply
    id: str


class Fence(Struct, array_like=True):
    """What every write of a claim carries. `claim_id` is made anew by the worker for each claim request."""

    run_id: str
    epoch: int
    claim_id: str


class Entry(Struct, array_like=True):
    """One outcome that was delivered to the workflow.

    `value` is the result, or a `Failure` where `ok` is false. `turns` is set if the outcome was let into a body that
    could still move (a spinning one): after so many handles.
    """

    key: str
    ok: bool
    value: Raw
    at: int
    turns: int | None = None


class Attempt(Struct, array_like=True):
    """A try of a task that was not final, or the start of an `at_most_once` task (`error` is NULL)."""

    key: str
    attempt: int
    error: Raw = NULL
    next_at: int | None = None


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


class Claimed(Struct, omit_defaults=True):
    """A run that now belongs to the claiming session, with the first page of its journal."""

    fence: Fence
    origin_id: str
    workflow: str
    version: str
    input: Raw
    attempt: int
    started_at: int
    """The time of the first claim."""
    key: str | None = None
    labels: dict[str, str] = {}
    entries: list[Entry] = []
    length: int = 0
    """Entries in the whole journal; those after the first page are read by `Page`."""
    attempts: list[Attempt] = []
    suspect: bool = False
    """It has killed workers before."""


class ClaimReply(Struct, omit_defaults=True):
    """The runs that were claimed (fewer than asked for, if no more were queued or the reply was full).

    `alive` is false if the session has ended. `more` says that the routes have further queued runs.
    """

    now: int
    alive: bool = True
    runs: list[Claimed] = []
    more: bool = False


class Claim(Request[ClaimReply]):
    """Claim up to `limit` queued runs of `routes`: started runs first, then priority, then enqueue time.

    The only request that must not be repeated: if its reply is lost, the next renewal finds the claim.
    """

    op = "claim"
    reply = ClaimReply
    session: str
    claim_id: str
    routes: list[tuple[str, str]]
    limit: int


class End(Struct, omit_defaults=True):
    """How a claim ends: `event` is release, sleep, retry, diverge, complete or fail."""

    event: Event
    output: Raw = NONE
    error: Raw = NONE
    due_at: int | None = None
    why: str | None = None


class Unit(Struct, array_like=True):
    """What one claim writes at a time, all or none: at most one unit per run is in flight.

    `base` is the number of entries that the run's journal holds before these; `end` gives the claim up.
    """

    fence: Fence
    base: int
    entries: list[Entry]
    attempts: list[Attempt]
    end: End | None = None


class Recorded(Struct, array_like=True):
    """What became of a unit: `done` (also when it was repeated), `fenced`, `conflict` (another outcome stands there).

    After `fenced` and `conflict` the worker drops the run. `refused` is bad data, with its reason: it fails the run.
    """

    result: Literal["done", "fenced", "conflict", "refused"]
    reason: str | None = None


class RecordReply(Struct):
    """One Recorded per Unit, in order, and the database's clock."""

    now: int
    units: list[Recorded]


class Record(Request[RecordReply]):
    """Write what runs of one worker have come to, each under its own fence. Idempotent."""

    op = "record"
    reply = RecordReply
    units: list[Unit]


class PageReply(Struct):
    """Journal entries in order, as many as fit a page; none after the last."""

    entries: list[Entry]


class Page(Request[PageReply]):
    """Read a claimed run's journal from entry `after` (0 reads from the start)."""

    op = "page"
    reply = PageReply
    run_id: str
    after: int


REQUESTS: dict[str, type[Request[Any]]] = {
    kind.op: kind
    for kind in (
        Enqueue,
        Status,
        Watch,
        Find,
        ListRuns,
        History,
        Input,
        Resume,
        Summary,
        Workflows,
        OpenSession,
        RenewSession,
        CloseSession,
        Claim,
        Record,
        Page,
    )
}
"""All operations by name."""
