"""Own why runs in memory do not move: the same facts as a daemon reads, and reasons by the same rules."""

from __future__ import annotations

from dataclasses import replace

from aiki.core.states import ENQUEUED, TOLD, Move, State
from aiki.rules import why as rules
from aiki.rules.claiming import Queued, order
from aiki.rules.sharing import KeyRow
from aiki.rules.why import Facts, Hold, Kin, Queue, Service, Timetable, Told, Wanted
from aiki.testing.memory.run import Line, Run
from aiki.testing.memory.status import due_try, progress, status_of
from aiki.testing.memory.store import Store
from aiki.wire.codec import decoder
from aiki.wire.limits import LOOKED_ITEMS
from aiki.wire.messages import CancelNote, Explained, Why, WhyReply


def why(store: Store, request: Why) -> WhyReply:
    """Say of the runs that exist why they do not move."""
    found = [store.runs[run_id] for run_id in dict.fromkeys(request.ids) if run_id in store.runs]
    return WhyReply(store.now(), [_explained(store, run, look=request.look) for run in found])


def _explained(store: Store, run: Run, *, look: bool) -> Explained:
    found = rules.reasons(_looked(store, run) if look else facts(store, run))
    path, leaf = [run.id], found
    while (other := rules.next_run(leaf)) is not None and other not in path and len(path) < rules.DEPTH:
        path.append(other)
        leaf = rules.reasons(_looked(store, store.runs[other]) if look else facts(store, store.runs[other]))
    is_alone = len(path) == 1
    return Explained(
        run.id,
        run.workflow,
        run.version,
        run.state,
        run.standing.epoch,
        found,
        path=[] if is_alone else path,
        leaf=[] if is_alone else leaf,
    )


def _looked(store: Store, run: Run) -> Facts:
    """Return what is known of a run, and what its worker says that holds it."""
    made = facts(store, run)
    if run.state is not State.RUNNING or run.session is None:
        return made
    told = store.look(run.session, run.id, LOOKED_ITEMS)
    looked = None if told is None else rules.looked_of(told)
    return replace(made, looked=looked, kin=_kin(run), was_asked=True)


def facts(store: Store, run: Run) -> Facts:
    """Return what is known of a run, as far as its state makes it matter."""
    cancel = None if run.cancel_seq is None else run.inbox.rows[run.cancel_seq]
    rule = None if run.options.retry is None else run.options.retry.rule
    made = Facts(
        now=store.now(),
        run=status_of(store, run),
        last=_last(run),
        claimed=next((_told(line) for line in reversed(run.lines) if line.move == Move.CLAIM), None),
        crash_count=run.standing.crash_count,
        wanted=run.standing.wanted is not None,
        cancel=None if cancel is None else decoder(CancelNote).decode(cancel.value),
        cancel_at=None if cancel is None else cancel.at,
        attempts=None if rule is None else rule.max_attempts,
        hold=None if run.session is None else Hold(store.sessions[run.session].worker, run.session),
        timetable=_timetable(store, run),
    )
    match run.state:
        case State.QUEUED:
            return replace(made, service=_service(store, run), queue=_queue(store, run))
        case State.RETRYING | State.RUNNING:
            return replace(made, due=due_try(run, store.now()), said=progress(run))
        case State.WAITING:
            return replace(made, keys=_keys(store, run), kin=_kin(run), unread=_unread(run))
        case _:
            return made


def _last(run: Run) -> Told:
    moved = (line for line in reversed(run.lines) if line.move != TOLD)
    return next((_told(line) for line in moved), Told(run.created_at, ENQUEUED))


def _told(line: Line) -> Told:
    return Told(line.at, line.move, line.reason, line.actor)


def _service(store: Store, run: Run) -> Service:
    live = [one for one in store.sessions.values() if one.is_alive]
    serving = [one for one in live if run.route in one.routes]
    versions = {version for one in live for workflow, version in one.routes if workflow == run.workflow}
    held = sum(len(one.runs) for one in serving)
    ended = [one.ended_at for one in store.sessions.values() if one.ended_at is not None and run.route in one.routes]
    is_known = store.routes.get(run.route) is not None
    return Service(len(serving), held, sorted(versions), max(ended, default=None), is_known=is_known)


def _queue(store: Store, run: Run) -> Queue:
    mine = order(_queued(run))
    queued = [one for one in store.runs.values() if one.state is State.QUEUED and one.route == run.route]
    ahead = [one for one in queued if order(_queued(one)) < mine]
    higher = sum(one.priority > run.priority for one in ahead)
    return Queue(higher, len(ahead) - higher)


def _queued(run: Run) -> Queued:
    return Queued(run.id, run.started_at is not None, run.priority, run.created_at, 0, 0)


def _kin(run: Run) -> Kin:
    links = [one for one in run.children.values() if one.generation == run.generation]
    first: dict[str, int] = {}
    for link in links:
        first[link.child.id] = min(first.get(link.child.id, link.created_at), link.created_at)
    children = sorted({one.child.id: one.child for one in links}.values(), key=lambda child: first[child.id])
    open = [child.newest for child in children if not child.newest.is_over]
    total = len(run.children)
    return Kin(len(open), total, oldest=(open[0].id, open[0].workflow, open[0].state) if open else None)


def _keys(store: Store, run: Run) -> list[Wanted]:
    since = _last(run).at
    awaited = [(id, key.row) for id, key in store.task_keys.items() if run.id in key.waiters]
    return [Wanted(id.task, id.key, _holder(run, row), since) for id, row in awaited]


def _holder(run: Run, row: KeyRow | None) -> str | None:
    """Return another run that has a key."""
    return None if row is None or row.done_at is not None or row.run_id == run.id else row.run_id


def _timetable(store: Store, run: Run) -> Timetable | None:
    fired = run.options.fired
    schedule = None if fired is None else store.schedules.get(fired.schedule)
    if fired is None or schedule is None:
        return None
    behind = sum(row.result == "queued" for row in schedule.unfinished())
    return Timetable(fired.schedule, schedule.paused, schedule.note or "", behind)


def _unread(run: Run) -> list[str]:
    return sorted({one.name for one in run.inbox.unread.values() if one.kind == "event"})
