"""Own the messages of those who look at a namespace as a whole: what is in flight, what is done, and who does it."""

from __future__ import annotations

from msgspec import Struct

from aiki.core.states import State
from aiki.wire.messages.base import Request, Text


class SummaryRow(Struct, omit_defaults=True):
    """How many runs of a route are in a state: at most COUNTED_RUNS are counted, and `capped` says that there are more.

    Of runs that have ended that may be as it was a minute ago.
    """

    workflow: str
    version: str
    state: State
    runs: int
    capped: bool = False


class QueueRow(Struct, omit_defaults=True):
    """What waits for a worker of a route, and since when that which waits longest; how many live `workers` serve it."""

    workflow: str
    version: str
    queued: int = 0
    capped: bool = False
    oldest_at: int | None = None
    workers: int = 0


class RateRow(Struct, omit_defaults=True):
    """What the last `minutes` have brought of a workflow.

    `p50` and `p95` are of how long runs took that have ended, in microseconds; None if none has.
    """

    workflow: str
    minutes: int
    enqueued: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    p50: int | None = None
    p95: int | None = None


class TroubleRow(Struct, omit_defaults=True):
    """Runs of a route that are blocked, or have failed lately; of the newest its id, since when, and why in a line."""

    workflow: str
    version: str
    state: State
    runs: int
    run_id: str
    at: int
    error: str = ""
    capped: bool = False


class SessionRow(Struct, omit_defaults=True):
    """A live session of a worker.

    `slots` is how many runs it takes at once, if it has said so; `routes` are the first of those that it serves.
    """

    worker: str
    id: str
    since: int
    seen_at: int
    running: int = 0
    slots: int | None = None
    draining: bool = False
    routes: list[tuple[str, str]] = []
    routes_total: int = 0


class SummaryReply(Struct, omit_defaults=True):
    """What is known of some routes, by name and version; `cursor` asks for the next ones.

    `workers` is how many worker sessions are alive; `sessions` are the first of these, in the first reply alone. A
    workflow's rate stands where its first version does.
    """

    rows: list[SummaryRow]
    workers: int
    cursor: str | None = None
    queues: list[QueueRow] = []
    rates: list[RateRow] = []
    troubles: list[TroubleRow] = []
    sessions: list[SessionRow] = []


class Summary(Request[SummaryReply]):
    """Say what the namespace does."""

    op = "summary"
    reply = SummaryReply
    cursor: Text | None = None


class WorkersReply(Struct, omit_defaults=True):
    """Live sessions by their ids; `cursor` asks for the next ones."""

    sessions: list[SessionRow]
    cursor: str | None = None


class Workers(Request[WorkersReply]):
    """List the live sessions of workers."""

    op = "workers"
    reply = WorkersReply
    cursor: Text | None = None
