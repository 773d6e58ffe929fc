"""Own how runs come to be: each id is one run for ever, each key one run per workflow."""

from __future__ import annotations

from hashlib import sha256

from aiki.core.errors import AikiError, Conflict, NotFound, UsageError
from aiki.core.states import ENQUEUED, State
from aiki.rules.checking import check_run
from aiki.rules.enqueueing import Stored, born, frees, is_retried, meet, refused, told
from aiki.testing.memory import retries
from aiki.testing.memory.run import Deadline, Run
from aiki.testing.memory.sends import declared_of, send_one
from aiki.testing.memory.store import NAMESPACE, Store
from aiki.wire import declared
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Enqueue, Enqueued, EnqueueReply, NewRun, Sent


def enqueue(store: Store, request: Enqueue) -> EnqueueReply:
    """Store the runs that are new, and say of each what became of it. Raises UsageError for too many."""
    if len(request.runs) > BATCH_RUNS:
        raise UsageError(f"one request enqueues at most {BATCH_RUNS} runs, not {len(request.runs)}")
    return EnqueueReply([put(store, run) for run in request.runs])


def put(store: Store, run: NewRun) -> Enqueued:
    """Store a run if it is new, and send it what it is sent with that."""
    try:
        check_run(run, room=store.room)
        _check_first(store, run)
    except AikiError as error:
        return refused(run.id, error)
    answer = _stored(store, run)
    first = run.options.send
    if first is None or answer.error is not None:
        return answer
    # The id of the send is that of the row, which is the run's only if the run is new: so a repeat is known by it.
    return told(run, answer, send_one(store, Sent(answer.id, run.id, first.name, first.value)))


def _check_first(store: Store, run: NewRun) -> None:
    first, names = run.options.send, declared_of(store, (run.workflow, run.version))
    if first is not None and names is not None and first.name not in names:
        raise NotFound(declared.unknown(run.workflow, first.name, names))


def _stored(store: Store, run: NewRun) -> Enqueued:
    same_id, holder = store.runs.get(run.id), held(store, run)
    if same_id is None and holder is None:
        bear(store, run)
        return Enqueued(run.id)
    if same_id is None and holder is not None and is_retried(run, stored(holder)):
        return retry(store, run, holder)
    known = None if same_id is None else stored(same_id)
    return meet(NAMESPACE, run, known, None if holder is None else stored(holder))


def held(store: Store, run: NewRun) -> Run | None:
    """Return the run that holds the key of one that is to be stored; who has ended may have to give it up."""
    key = run.options.key
    if key is None:
        return None
    holder = store.keys.get((run.workflow, key))
    if holder is not None and frees(run, holder.state) and run.id not in store.runs:
        del store.keys[run.workflow, key]
        return None
    return holder


def bear(store: Store, new: NewRun) -> Run:
    """Store a run that is new."""
    now = store.now()
    run = Run.new(new, born(new, now=now), created_at=store.created_at(), born_at=store.born_at())
    run.tell(run.created_at, ENQUEUED)
    store.add(run)
    if new.options.key is not None:
        store.keys[new.workflow, new.options.key] = run
    store.watch(run, _deadline(run, now))
    return run


def retry(store: Store, run: NewRun, holder: Run) -> Enqueued:
    """Retry the run that has the key of another one; return the answer to that."""
    redone = retries.renew(store, holder.id, retries.AS_IT_FAILED)
    if words := redone.words():
        return refused(holder.id, Conflict(f"key {run.options.key!r} has a run that failed: {words}"))
    return Enqueued(redone.run_id, created=False)


def stored(run: Run) -> Stored:
    """Return a run as a repeated enqueue looks at it."""
    digest = sha256(bytes(run.input)).digest()
    return Stored(run.id, NAMESPACE, run.workflow, run.version, run.options.key, run.digest, digest, run.state)


def _deadline(run: Run, now: int) -> Deadline | None:
    timeout, grace = run.options.timeout, run.options.cancel_timeout
    if timeout is None and grace is None:
        return None
    starts_at = run.standing.due_at if run.state is State.SCHEDULED else now
    at = None if timeout is None else (starts_at or now) + timeout
    return Deadline(at, timeout, grace, at)
