"""Own the engine in memory: what aikid answers, it answers, decided by the same rules, and nothing of it is kept.

All is done when `answer` returns, and what is due by it is told then, too. Time stands still but for its clock: who
moves that lets it `pass_time`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from msgspec import Struct

from aiki.core.errors import Unsupported
from aiki.rules.checking import check_request
from aiki.rules.declaring import check_request as check_schedules
from aiki.testing.memory import (
    claims,
    control,
    deleting,
    enqueue,
    errands,
    exports,
    firing,
    following,
    listing,
    policies,
    reads,
    record,
    rerouting,
    retries,
    schedules,
    sends,
    sessions,
    status,
    story,
    summary,
    task_keys,
    why,
)
from aiki.testing.memory.following import Following
from aiki.testing.memory.store import Store
from aiki.testing.memory.watching import Watching
from aiki.wire.messages import (
    ApplyRetention,
    ApplySchedules,
    BackfillSchedule,
    Cancel,
    Claim,
    CloseSession,
    Delete,
    Enqueue,
    Export,
    Find,
    Follow,
    FollowNamespace,
    History,
    Inbox,
    Input,
    ListRuns,
    ListSchedules,
    MoveRuns,
    NextSlots,
    OpenSession,
    OrderSchedules,
    Page,
    Pause,
    PutSchedule,
    ReadRetention,
    Record,
    RenewSession,
    Request,
    Resume,
    Retry,
    Send,
    ShowSchedule,
    Status,
    Storage,
    Summary,
    Told,
    TriggerSchedule,
    Wake,
    Watch,
    Why,
    Workers,
    Workflows,
)

R = TypeVar("R")

TABLE: Final[dict[type[Request[Any]], Callable[[Store, Any], Any]]] = {
    OpenSession: sessions.open_session,
    RenewSession: sessions.renew,
    CloseSession: sessions.close,
    Claim: claims.claim,
    Page: claims.page,
    Inbox: sends.inbox,
    Record: record.record,
    Enqueue: enqueue.enqueue,
    Send: sends.send,
    Pause: control.pause,
    Resume: control.resume,
    Cancel: control.cancel,
    Wake: control.wake,
    Retry: retries.retry,
    MoveRuns: rerouting.move,
    Delete: deleting.delete,
    Status: status.status,
    Watch: status.watch,
    Find: reads.find,
    Follow: following.follow,
    FollowNamespace: following.follow_namespace,
    ListRuns: listing.list_runs,
    History: story.history,
    Export: exports.export,
    Input: reads.input_of,
    Summary: summary.summary,
    Workers: summary.workers,
    Storage: reads.storage,
    Workflows: reads.workflows,
    Why: why.why,
    PutSchedule: schedules.put,
    ApplySchedules: schedules.apply,
    ApplyRetention: policies.apply,
    ReadRetention: policies.read,
    OrderSchedules: schedules.order,
    ListSchedules: schedules.list_schedules,
    ShowSchedule: schedules.show,
    NextSlots: schedules.next_slots,
    TriggerSchedule: firing.trigger,
    BackfillSchedule: firing.backfill,
}
"""What carries out each operation."""


class Engine:
    """An engine of its own: what one holds no other sees. `now` is its clock, microseconds since 1970."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.on_queued: Callable[[], None] = _nothing
        """Called when runs are queued: whoever has a free slot may claim them."""
        self.on_told: Callable[[str, Told], None] = _nothing
        """Called with a session, and what has reached runs that it holds."""
        self.on_news: Callable[[str, Struct], None] = _nothing
        """Called with the inbox of a watcher or follower, and what it is told."""
        self.store = Store(now)
        self._watching = Watching(self.store)
        self._following = Following(self.store)

    def answer(self, request: Request[R]) -> R:
        """Carry out a request, and all that is due by it. Raises what aikid answers with."""
        check_request(request)
        check_schedules(request)
        if (carry_out := TABLE.get(type(request))) is None:
            raise Unsupported(f"this engine does not know {request.op!r}")
        self._watching.note(request)
        self._following.note(request)
        reply: R = carry_out(self.store, request)
        self._settle()
        return reply

    def lose(self, session_id: str) -> None:
        """Have the worker of a session have died: its runs are queued again, or set aside."""
        sessions.lose(self.store, session_id)
        self._settle()

    def due_at(self) -> int | None:
        """Return when something is due next: a run, its deadline, a schedule; None if nothing ever is by itself."""
        dates = [firing.look_at(self.store, one) for one in self.store.schedules.values()]
        dates.append(task_keys.look_at(self.store))
        return min((date for date in (self.store.due_at(), *dates) if date is not None), default=None)

    def pass_time(self) -> None:
        """Do all that is due."""
        for run in self.store.pop_due():
            control.pass_due(self.store, run)
        firing.fire_due(self.store)
        self._settle()

    def _settle(self) -> None:
        """Do the errands that a commit has left, and tell of what has changed."""
        store = self.store
        errands.do(store)
        task_keys.tell(store)
        fed = self._following.take(store.changed.values())
        told, news, has_queued = store.take_told(), self._watching.take(), store.has_queued
        store.has_queued, store.born = False, 0
        for session, words in told.items():
            self.on_told(session, words)
        for inbox, changed in news.items():
            self.on_news(inbox, changed)
        for inbox, one in fed:
            self.on_news(inbox, one)
        if has_queued:
            self.on_queued()


def _nothing(*_: object) -> None:
    pass
