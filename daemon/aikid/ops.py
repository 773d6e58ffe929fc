"""Own the table of operations: for each its request, its lane (budget and priority), and what carries it out.

A use case takes a batch, pairs of namespace and request, and returns a reply to each and what changed. Where it needs
a word with the watchers too (who asks to be told), that word stands here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from aiki.core.errors import UsageError
from aiki.core.failpoints import failpoint
from aiki.rules.checking import check_request, is_uuid
from aiki.rules.declaring import check_request as check_schedules
from aiki.rules.policies import check_request as check_policies
from aiki.wire.limits import WATCH_SECONDS
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
    Import,
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
    StatusReply,
    Storage,
    Summary,
    TriggerSchedule,
    Wake,
    Watch,
    Why,
    Workers,
    Workflows,
)
from aikid.batch import Budget
from aikid.bus import Bus, may_reply
from aikid.engine import (
    arrivals,
    claims,
    control,
    deleting,
    enqueue,
    exports,
    imports,
    journal,
    policies,
    reads,
    record,
    rerouting,
    retries,
    schedule_reads,
    schedules,
    sessions,
    sizes,
    status,
    triggers,
    why,
)
from aikid.engine.changes import Done
from aikid.engine.expiring import Terms
from aikid.engine.leaves import Leaves
from aikid.engine.routes import Routes
from aikid.engine.summary import Capped
from aikid.store.pool import Pool, Priority
from aikid.tell.followers import Followers
from aikid.tell.looks import Looks
from aikid.tell.namespaces import Namespaces
from aikid.tell.teller import Teller
from aikid.tell.watchers import Watchers


@dataclass(frozen=True, slots=True)
class Services:
    """What carries requests out."""

    pool: Pool
    bus: Bus
    routes: Routes
    watchers: Watchers
    leaves: Leaves
    teller: Teller
    terms: Terms
    looks: Looks
    followers: Followers
    namespaces: Namespaces
    capped: Capped = field(default_factory=Capped)

    def at(self, priority: Priority) -> Services:
        """Return the same with the pool as those of that priority have it."""
        return replace(self, pool=self.pool.at(priority))


Calls: TypeAlias = Sequence[tuple[str, Any]]
UseCase: TypeAlias = Callable[[Services, Calls], Awaitable[Done[Any]]]


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: one is looked up for each request
class Lane:
    """Where calls wait, how many of them are carried out at once, and how soon they get a connection to Postgres.

    Those of one batch have one use case.
    """

    name: str
    priority: Priority
    budget: Budget


@dataclass(frozen=True, slots=True)
class Op:
    """An operation. `rows` is the field that weighs in a batch; `check` refuses a request before it is queued."""

    request: type[Request[Any]]
    lane: Lane
    carry_out: UseCase
    rows: str | None = None
    check: Callable[[Any], None] = check_request

    @property
    def name(self) -> str:
        """What it is called on the wire."""
        return self.request.op


# -- use cases


async def _enqueue(s: Services, calls: Calls) -> Done[Any]:
    for namespace, request in calls:
        if request.inbox is not None and may_reply(request.inbox):
            ids = [run.id for run in request.runs if is_uuid(run.id)]
            s.watchers.watch(namespace, Watch(ids, request.inbox, WATCH_SECONDS))
    done = await enqueue.enqueue(s.pool, s.routes, calls, room=s.bus.room, leaves=s.leaves)
    return _unless_lost(done, "enqueue.before_reply")


async def _claim(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    done = await claims.answer(s.pool, namespace, request, room=s.bus.room)
    return _unless_lost(done, "claim.before_reply") if done.changes.claimed else done


async def _page(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await journal.page(s.pool, namespace, request, room=s.bus.room)])


async def _inbox(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await arrivals.inbox(s.pool, namespace, request, room=s.bus.room)])


async def _send(s: Services, calls: Calls) -> Done[Any]:
    return _unless_lost(await arrivals.send(s.pool, calls, room=s.bus.room), "send.before_reply")


async def _history(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await journal.story(s.pool, namespace, request, room=s.bus.room)])


async def _export(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await exports.export(s.pool, namespace, request, room=s.bus.room)])


async def _record(s: Services, calls: Calls) -> Done[Any]:
    done = await record.record(s.pool, calls, s.watchers, room=s.bus.room, routes=s.routes, leaves=s.leaves)
    return _unless_lost(done, "record.before_reply")


async def _open_session(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    s.namespaces.stir(namespace)
    return Done([await sessions.open_session(s.pool, s.routes, namespace, request, room=s.bus.room)])


async def _renew_session(s: Services, calls: Calls) -> Done[Any]:
    return _unless_lost(Done(await sessions.renew_sessions(s.pool, calls, room=s.bus.room)), "renew.before_reply")


async def _close_session(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return await sessions.close_session(s.pool, namespace, request)


async def _pause(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return _unless_lost(await control.pause(s.pool, namespace, request), "pause.before_reply")


async def _resume(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return await control.resume(s.pool, namespace, request)


async def _cancel(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return _unless_lost(await control.cancel(s.pool, namespace, request), "cancel.before_reply")


async def _wake(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return await control.wake(s.pool, namespace, request)


async def _retry(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return _unless_lost(await retries.retry(s.pool, namespace, request, room=s.bus.room), "retry.before_reply")


async def _move(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return _unless_lost(await rerouting.move(s.pool, s.routes, namespace, request), "move.before_reply")


async def _delete(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    done = await deleting.delete(s.pool, namespace, request, key_seconds=s.terms.key_seconds)
    return _unless_lost(done, "delete.before_reply")


async def _look(s: Services, calls: Calls) -> Done[Any]:
    """Read for many Status and Watch calls at once."""
    for namespace, request in calls:
        if isinstance(request, Watch):
            s.watchers.watch(namespace, request)
    found = await status.statuses(s.pool, [(namespace, i) for namespace, request in calls for i in request.ids])
    asked = [(namespace, i) for namespace, request in calls if isinstance(request, Status) for i in request.ids]
    explained = await reads.explain(s.pool, {key: found[key] for key in asked if key in found})
    explained = await status.progressing(s.pool, await status.tried(s.pool, explained))
    replies: list[StatusReply] = []
    for namespace, request in calls:
        known = found if isinstance(request, Watch) else explained
        mine = {i: known[namespace, i] for i in request.ids if (namespace, i) in known}
        if isinstance(request, Watch):
            s.watchers.saw(namespace, request.ids, mine)
        replies.append(status.reply(request.ids, mine, room=s.bus.room))
    return Done(replies)


async def _follow(s: Services, calls: Calls) -> Done[Any]:
    """Read for many who follow runs at once."""
    return Done(list(await s.followers.answer(calls)))


async def _follow_namespace(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await s.namespaces.answer(namespace, request)])


async def _import(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return _unless_lost(await imports.take(s.pool, namespace, request, room=s.bus.room), "import.before_reply")


async def _put_schedule(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return _unless_lost(
        await schedules.put(s.pool, s.routes, namespace, request, room=s.bus.room), "schedule.before_reply"
    )


async def _apply_schedules(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return await schedules.apply(s.pool, s.routes, namespace, request, room=s.bus.room)


async def _order_schedules(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return await schedules.order(s.pool, namespace, request)


async def _trigger_schedule(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    done = await triggers.trigger(s.pool, namespace, request, room=s.bus.room)
    return _unless_lost(done, "trigger.before_reply")


async def _backfill_schedule(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return await triggers.backfill(s.pool, namespace, request, room=s.bus.room)


async def _read_schedules(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await schedule_reads.answer(s.pool, namespace, request, room=s.bus.room)])


async def _read(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await reads.answer(s.pool, namespace, request, room=s.bus.room, terms=s.terms, capped=s.capped)])


async def _apply_retention(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return _unless_lost(Done([await policies.apply(s.pool, namespace, request)]), "retention.before_reply")


async def _read_retention(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await policies.read(s.pool, namespace, request, s.terms)])


async def _storage(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await sizes.storage(s.pool, namespace, request, room=s.bus.room, terms=s.terms)])


async def _why(s: Services, calls: Calls) -> Done[Any]:
    ((namespace, request),) = calls
    return Done([await why.answer(s.pool, namespace, request, room=s.bus.room, look=s.looks.look)])


def _check_watch(request: Watch | Follow | FollowNamespace) -> None:
    check_request(request)
    if not may_reply(request.inbox):
        raise UsageError("`inbox` must be a subject under _INBOX.")


def _unless_lost(done: Done[Any], point: str) -> Done[Any]:
    """Return what was done, without its replies if a test wants them lost."""
    if failpoint(point):
        done.replies.clear()
    return done


# -- the table

# Renewals and records keep claims alive and have lanes of their own; new work and reads come last. A batch's weight is
# its rows and its bytes by the half KiB, so that large requests make small batches. Whatever one namespace asks for, a
# lane is left to the others.
_LEASE: Final = Lane("lease", Priority.LEASE, Budget(lanes=2, limit=1, capacity=1_000, lanes_each=1))
_RENEWAL: Final = Lane("renewal", Priority.LEASE, Budget(lanes=2, limit=200, capacity=5_000, lanes_each=1))
_RECORD: Final = Lane("record", Priority.RECORD, Budget(lanes=3, limit=2_500, capacity=10_000, lanes_each=2))
_CLAIM: Final = Lane("claim", Priority.CLAIM, Budget(lanes=3, limit=1, capacity=2_000, lanes_each=2))
_CONTROL: Final = Lane("control", Priority.CLAIM, Budget(lanes=2, limit=1, capacity=200, lanes_each=1))
_SEND: Final = Lane("send", Priority.ENQUEUE, Budget(lanes=3, limit=1_250, capacity=10_000, lanes_each=2))
_ENQUEUE: Final = Lane("enqueue", Priority.ENQUEUE, Budget(lanes=3, limit=1_250, capacity=10_000, lanes_each=2))
_LOOK: Final = Lane("look", Priority.READ, Budget(lanes=3, limit=1_000, capacity=10_000, lanes_each=2))
_FOLLOW: Final = Lane("follow", Priority.READ, Budget(lanes=2, limit=200, capacity=5_000, lanes_each=1))
_READ: Final = Lane("read", Priority.READ, Budget(lanes=3, limit=1, capacity=200, lanes_each=2))

TABLE: Final = (
    Op(OpenSession, _LEASE, _open_session),
    Op(CloseSession, _LEASE, _close_session),
    Op(RenewSession, _RENEWAL, _renew_session),
    Op(Record, _RECORD, _record, rows="units"),
    Op(Claim, _CLAIM, _claim),
    Op(Page, _CLAIM, _page),
    Op(Inbox, _CLAIM, _inbox),
    Op(Pause, _CONTROL, _pause),
    Op(Resume, _CONTROL, _resume),
    Op(Cancel, _CONTROL, _cancel),
    Op(Wake, _CONTROL, _wake),
    Op(Retry, _CONTROL, _retry),
    Op(MoveRuns, _CONTROL, _move),
    Op(Delete, _CONTROL, _delete),
    Op(Import, _CONTROL, _import),
    Op(PutSchedule, _CONTROL, _put_schedule, check=check_schedules),
    Op(ApplySchedules, _CONTROL, _apply_schedules, check=check_schedules),
    Op(OrderSchedules, _CONTROL, _order_schedules, check=check_schedules),
    Op(ApplyRetention, _CONTROL, _apply_retention, check=check_policies),
    Op(TriggerSchedule, _CONTROL, _trigger_schedule, check=check_schedules),
    Op(BackfillSchedule, _CONTROL, _backfill_schedule, check=check_schedules),
    Op(Enqueue, _ENQUEUE, _enqueue, rows="runs"),
    Op(Send, _SEND, _send, rows="items"),
    Op(Status, _LOOK, _look, rows="ids"),
    Op(Watch, _LOOK, _look, rows="ids", check=_check_watch),
    Op(Follow, _FOLLOW, _follow, rows="runs", check=_check_watch),
    Op(FollowNamespace, _READ, _follow_namespace, check=_check_watch),
    Op(Find, _READ, _read),
    Op(ListRuns, _READ, _read),
    Op(History, _READ, _history),
    Op(Export, _READ, _export),
    Op(Input, _READ, _read),
    Op(Summary, _READ, _read),
    Op(Storage, _READ, _storage),
    Op(Workflows, _READ, _read),
    Op(Workers, _READ, _read),
    Op(Why, _READ, _why),
    Op(ListSchedules, _READ, _read_schedules, check=check_schedules),
    Op(ShowSchedule, _READ, _read_schedules, check=check_schedules),
    Op(ReadRetention, _READ, _read_retention, check=check_policies),
    Op(NextSlots, _READ, _read_schedules, check=check_schedules),
)
OPS: Final = {op.name: op for op in TABLE}
"""The operations by name."""
