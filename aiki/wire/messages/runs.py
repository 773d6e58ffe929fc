"""Own the messages of those who enqueue and read runs."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Raw, Struct

from aiki.core.retention import NOTHING, Periods
from aiki.core.states import State
from aiki.wire.limits import BATCH_RUNS, CURSOR_CHARS, FINGERPRINT_CHARS, LABELS, LIST_ITEMS, NAMED_WORKERS
from aiki.wire.messages.arrivals import CancelNote
from aiki.wire.messages.base import NONE, Attempt, Request, Text
from aiki.wire.messages.imported import ImportedFrom
from aiki.wire.messages.options import NO_OPTIONS, Fired, RunOptions

Ids: TypeAlias = Annotated[list[Text], Meta(max_length=BATCH_RUNS)]


class NewRun(Struct, omit_defaults=True):
    """A run to be enqueued. `id` is made by the client: a repeat is the same run, anything else with it a conflict."""

    id: Text
    workflow: Text
    version: Text
    input: Raw
    options: RunOptions = NO_OPTIONS
    digest: Text | None = None
    """blake2b-128 of the input's canonical form, in hex; required with an idempotency key."""


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
    runs: Annotated[list[NewRun], Meta(max_length=BATCH_RUNS)]
    inbox: Text | None = None


class TaskProgress(Struct, array_like=True):
    """What a task that runs has last said of its progress, at `at`."""

    key: Text
    attempt: int
    fraction: float
    message: str
    at: int


class RunStatus(Struct, omit_defaults=True):
    """A run as a reader sees it."""

    id: str
    workflow: str
    version: str
    state: State
    created_at: int
    claims: int = 0
    """How many times workers have taken it up."""
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
    """Why it is blocked, retrying after a crash, queued without a worker that serves its route, or told without its
    output, which no message can hold."""
    worker: str | None = None
    """The worker that runs it now."""
    origin_id: str | None = None
    """The first of its retries, if that is another run."""
    tried: Attempt | None = None
    """The try of one of its tasks that failed and is due again, of a run whose `why` does not say so (not in news)."""
    output_bytes: int | None = None
    """The size of an output that is not here: a list leaves out those of more than LISTED_BYTES."""
    attempt: int = 1
    """The attempt of the workflow itself, which no loss of a worker counts against."""
    deadline: int | None = None
    """By when it must have ended."""
    progress: list[TaskProgress] = []
    """Of the tasks of a running run, the last first (not in news)."""
    unread: int = 0
    """Events that have come, and that it has not taken."""
    waits: list[str] = []
    """What it waits for, if it was parked for that: `event:NAME`, and kinds of other arrivals."""
    details: Raw = NONE
    """What it shows of itself, as JSON (not in lists)."""
    cancel: CancelNote | None = None
    """What has told it to end, if that and its state of now have no other reason (`why`)."""
    parent_id: str | None = None
    """The run that has started it, if one has."""
    depth: int = 0
    """How many ancestors it has."""
    children: int = 0
    retried_by: str | None = None
    """The newest of its retries, which goes on in its place."""
    retry_of: str | None = None
    """The run that was asked for, of which this is the newest retry: put in by whoever has looked for that."""
    """How many runs it has started, or met by their keys when it was to start them."""
    generation: int = 0
    """Which life of the run this is; `tasks` are those of this one."""
    fired: Fired | None = None
    """The slot of the schedule that it is of, or that the first of its origin was."""
    imported: ImportedFrom | None = None
    """Where it was imported from, if it was: then nothing moves it."""
    sentence: str | None = None
    """Why it does not move, in words: put in by whoever has asked for that."""


class StatusReply(Struct, omit_defaults=True):
    """The runs that were found; any other that was asked for does not exist.

    But of the last `rest` ids of the request nothing is said, since it did not fit: ask again for them.
    """

    runs: list[RunStatus]
    rest: int = 0


class Status(Request[StatusReply]):
    """Read up to BATCH_RUNS runs."""

    op = "status"
    reply = StatusReply
    ids: Ids


class Watch(Request[StatusReply]):
    """Read runs, and have each later change of state pushed to `inbox` as a `RunNews` for `seconds`.

    The push is best effort; a watcher asks again before `seconds` are over. Runs that ended are answered
    at once and not watched, nor are those beyond what a daemon remembers of a run or a namespace. With `ends_only` only
    terminal states, blocked and paused are pushed.
    """

    op = "watch"
    reply = StatusReply
    ids: Ids
    inbox: Text
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
    reference: Text


class ListReply(Struct, omit_defaults=True):
    """One page, newest first; `cursor` asks for the next. A page may be empty and yet not the last.

    Of an output of more than LISTED_BYTES only the size is told. If they were to be counted there are no runs, and
    `count` is how many this page would be of.
    """

    runs: list[RunStatus]
    cursor: str | None = None
    count: int = 0
    heeded: list[str] = []
    """Which words of NARROWED it goes by, of those that were asked for: a daemon from before them knows none."""


class ListRuns(Request[ListReply]):
    """List runs, newest first. `labels` must all match; they were stored between the times `since` and `before`.

    `roots` are those that no run has started; of a `parent` they are its children, in the order of their starts. By a
    `key_prefix` alone they are in the order of their keys. With `counts` they are counted instead, some at a time.
    """

    op = "list"
    reply = ListReply
    states: Annotated[list[State], Meta(max_length=len(State))] = []
    workflow: Text | None = None
    labels: Annotated[dict[Text, Text], Meta(max_length=LABELS)] = {}
    since: int | None = None
    limit: int = 100
    cursor: Annotated[str, Meta(max_length=CURSOR_CHARS)] | None = None
    before: int | None = None
    roots: bool = False
    parent: Text | None = None
    counts: bool = False
    version: Text | None = None
    """Of this version of the workflow."""
    key: Text | None = None
    """That hold this idempotency key."""
    key_prefix: Text | None = None
    """That hold a key which begins so."""
    error: Text | None = None
    """That came to an error of this type, or whose task did; without `states` they are those that failed."""
    worker: Text | None = None
    """That a worker of this name has claimed."""
    priority: int | None = None
    retried: bool | None = None
    """Whether another run goes on in their place; either, if nothing is said."""
    not_version: Text | None = None
    """Of any other version than this."""

    @property
    def narrowed(self) -> list[str]:
        """Return the words of NARROWED that it is asked by."""
        return [name for name in NARROWED if getattr(self, name) is not None]


NARROWED: Final = ("version", "key", "key_prefix", "error", "worker", "priority", "retried", "not_version")
"""Words of a list that a daemon may not know: it would pass over them, and list more than was asked for."""


class HistoryItem(Struct, omit_defaults=True):
    """One line of a run's story: a transition or a journal entry."""

    at: int
    move: str
    """A `Move`, `enqueued`, `told` of a word that moves nothing; `entry` for an outcome in the journal, `attempt` for a
    try that failed, `event` for an event that was not taken."""
    state: State | None = None
    reason: str | None = None
    """Why it happened; or why the value is not here, if no message can hold it."""
    actor: str | None = None
    key: str | None = None
    ok: bool | None = None
    value: Raw = NONE
    attempt: int | None = None
    """Of a try: its number, from 1."""
    due_at: int | None = None
    """Of a try: when the next one is due."""
    generation: int = 0
    """In which life of the run it happened; a `continue` is the last of one."""
    started_at: int | None = None
    """Of an outcome or a try: when it began, or was asked for if it is no task's."""
    worker: str | None = None
    """Of an outcome or a try: whose it is."""
    arguments: Raw = NONE
    """Of an outcome or a try: what was called with, as an `Entry` has it."""


class HistoryReply(Struct, omit_defaults=True):
    """The story in the order in which it happened; `cursor` asks for the next page."""

    items: list[HistoryItem]
    cursor: str | None = None


class History(Request[HistoryReply]):
    """Read a run's story."""

    op = "history"
    reply = HistoryReply
    id: Text
    cursor: Text | None = None


class InputReply(Struct):
    """The input of the generation that the run is in."""

    input: Raw


class Input(Request[InputReply]):
    """Read a run's input."""

    op = "input"
    reply = InputReply
    id: Text


class RouteStanding(Struct, omit_defaults=True):
    """What is in flight of a route, and who serves it. Of each state COUNTED_RUNS at most; `capped` have more."""

    runs: Annotated[dict[State, int], Meta(max_length=len(State))] = {}
    capped: Annotated[list[State], Meta(max_length=len(State))] = []
    workers: int = 0
    """Live sessions that serve it; the first of their workers are named."""
    worker_names: Annotated[list[Text], Meta(max_length=NAMED_WORKERS)] = []
    has_schedule: bool = False
    """Whether a schedule starts runs of it."""
    code_since: int | None = None
    """Since when it has its code, and by which worker that was registered."""
    code_by: Text = ""
    is_registered: bool = True
    """Whether any worker has ever served it; if not, runs were only enqueued to it."""
    last_start: int | None = None
    """When the last run was started, as far as the newest of each state tell."""


class Route(Struct, omit_defaults=True):
    """A workflow and version that a worker has registered. `parameters` is the JSON Schema of its input."""

    workflow: Text
    version: Text
    parameters: Raw = NONE
    task_names: Annotated[list[Text], Meta(max_length=LIST_ITEMS)] = []
    live: bool = False
    """Whether a live worker serves it now (only in replies)."""
    retention: Periods = NOTHING
    """How long its ended runs are kept: as its code says, in replies as it is in force."""
    timeout: int | None = None
    """Of its runs, in microseconds, unless their own options have one."""
    cancel_timeout: int | None = None
    events: Raw = NONE
    """What `wire.declared` has of the events that it takes; absent where nothing is said of them."""
    fingerprint: Annotated[str, Meta(max_length=FINGERPRINT_CHARS)] = ""
    """Of the code that the worker has (only in requests)."""
    standing: RouteStanding | None = None
    """Only in replies, where it was asked for."""


class WorkflowsReply(Struct, omit_defaults=True):
    """One page of registered routes by name, newest version first; `cursor` asks for the next page."""

    routes: list[Route]
    cursor: str | None = None


class Workflows(Request[WorkflowsReply]):
    """Read the routes that workers have ever registered, of one workflow or all."""

    op = "workflows"
    reply = WorkflowsReply
    workflow: Text | None = None
    cursor: Text | None = None
    standing: bool = False
    """Whether it is told how each stands, too; then also of those that were only ever enqueued to."""
