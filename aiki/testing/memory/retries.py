"""Own how runs go on in others that have failed or were cancelled, each with its family."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec import MsgspecError
from msgspec.structs import replace

from aiki.core.ids import uuid7
from aiki.core.keys import DETAILS, is_task, name_of
from aiki.core.states import ENQUEUED, RETRIED, State
from aiki.rules import retrying
from aiki.rules.checking import check_payload
from aiki.rules.recording import is_start
from aiki.rules.retrying import Child, Family, Past
from aiki.rules.standing import Standing
from aiki.testing.memory import pasts
from aiki.testing.memory.run import Deadline, Life, Link, Run
from aiki.testing.memory.store import Store, Telling
from aiki.testing.memory.story import entries_and_tries_held
from aiki.wire.limits import FAMILY_ENTRIES, FAMILY_RUNS
from aiki.wire.messages import Redone, Retry, RetryReply

AS_IT_FAILED = Retry([])


def retry(store: Store, request: Retry) -> RetryReply:
    """Retry the runs, and say of each what has come of it. Raises PayloadError for an input that is none."""
    if request.input:
        check_payload(bytes(request.input), what="the input", room=store.room)
        request = replace(request, start=True)
    return RetryReply([renew(store, run_id, request) for run_id in request.ids])


def renew(store: Store, run_id: str, order: Retry) -> Redone:
    """Retry a run."""
    run = store.runs.get(run_id)
    if run is None:
        return Redone("unknown", run_id)
    if order.workflow not in (None, run.workflow):
        return Redone("other", run_id, run.state, [run.workflow])
    if run.retried_by is not None:
        return Redone("found", run.newest.id, run.newest.state)
    plan = _plan(store, [(run, None)], order)
    if isinstance(plan, Redone):
        return plan
    return Redone("retried", _carry_out(store, plan)[run_id].id, State.QUEUED)


def refusal_of_children(store: Store, children: Iterable[Child]) -> str | None:
    """Return why children of a run cannot be retried with it; None if they can."""
    plan = _plan(store, [(store.runs[child.run_id], None) for child in children], AS_IT_FAILED)
    return plan.words() if isinstance(plan, Redone) else None


def renew_children(store: Store, parent: Run, children: Iterable[Child]) -> dict[str, Run]:
    """Retry children of a run that goes on itself, which can be; return by which runs they go on."""
    plan = _plan(store, [(store.runs[child.run_id], parent) for child in children], AS_IT_FAILED)
    assert not isinstance(plan, Redone), "it was looked at before"
    return _carry_out(store, plan)


# -- planning: nothing is written


@dataclass(slots=True)
class _Renewal:
    """A run that is to go on in another one, of which all is known but its children."""

    run: Run
    past: Past
    order: Retry
    parent: Run | _Renewal | None
    """Who waits for it."""
    family: Family = field(default_factory=Family)
    new: Run | None = None

    @property
    def at(self) -> int:
        """How many entries stay."""
        return retrying.cut(self.past, self.order) or 0

    @property
    def kept(self) -> list[tuple[int, int]]:
        """The stretches of entries that stay in force."""
        return [] if self.order.start else retrying.kept(self.past, self.at)


_Plan: TypeAlias = list[_Renewal]


def _plan(store: Store, level: Iterable[tuple[Run, Run | _Renewal | None]], order: Retry) -> _Plan | Redone:
    """Plan the retry of runs and their families, level by level; return why it is refused, if it is."""
    plan: _Plan = []
    here = [*level]
    while here:
        below: list[tuple[Run, Run | _Renewal | None]] = []
        for run, parent in here:
            made = _look(run, order, parent)
            if isinstance(made, Redone):
                return made
            plan.append(made)
            below += [(store.runs[child.run_id], made) for child in made.family.retried]
        entries = sum(one.past.length for one in plan)
        if len(plan) + len(below) > FAMILY_RUNS + 1 or entries > FAMILY_ENTRIES:
            return Redone("large", plan[0].run.id, plan[0].run.state)
        here, order = below, retrying.down(order)
    return plan


def _look(run: Run, order: Retry, parent: Run | _Renewal | None) -> _Renewal | Redone:
    try:
        past = pasts.past_of(run)
    except MsgspecError:  # whatever a worker has written there
        return Redone("unreadable", run.id, run.state)
    refused = retrying.refusal(past, order)
    return refused or _Renewal(run, past, order, parent, retrying.family(past, order))


# -- writing


def _carry_out(store: Store, plan: _Plan) -> dict[str, Run]:
    """Have the runs go on; return in which others, by their ids."""
    for renewal in plan:
        renewal.new = _succeed(store, renewal)
    made = {renewal.run.id: renewal.new for renewal in plan if renewal.new is not None}
    for renewal in plan:
        _adopt(store, renewal, made)
    return made


def _succeed(store: Store, renewal: _Renewal) -> Run:
    """Return the run that goes on in the place of another."""
    old, order, now = renewal.run, renewal.order, store.now()
    id = str(uuid7(milliseconds=now // 1_000, random_bits=secrets.randbits(74)))
    life = Life() if order.start else _copied(renewal, id, now)
    new = Run(
        id,
        old.workflow,
        old.version,
        order.input or old.input,
        old.options,
        old.digest,
        store.created_at(),
        store.born_at(),
        Standing(State.QUEUED, generation=old.generation + order.start, length=len(life.journal)),
        old.inbox.succeed(old.generation, renewal.kept, anew=order.start),
        old.origin_id,
        priority=old.priority,
        labels=dict(old.labels),
        attempt=old.attempt + 1,
        life=life,
        depth=old.depth,
    )
    if not order.start:
        new.started_at, new.began_at = old.started_at, old.began_at
    _stand(store, renewal, new)
    return new


def _stand(store: Store, renewal: _Renewal, new: Run) -> None:
    """Put a new run in the place of the old one."""
    old, order = renewal.run, renewal.order
    length = None if order.start else len(new.life.journal)
    new.tell(
        new.created_at, ENQUEUED, reason=f"a retry of run {old.id}{_from(order)}", actor=order.actor, length=length
    )
    old.tell(store.now(), RETRIED, reason=f"by run {new.id}", actor=order.actor)
    old.retried_by = new
    new.count_unread()
    old.count_unread()
    store.add(new)
    store.reopen_slot(new)
    key = (old.workflow, old.options.key or "")
    if store.keys.get(key) is old:
        store.keys[key] = new
    if (known := old.deadline) is not None:
        at = None if known.timeout is None else store.now() + known.timeout
        store.watch(new, Deadline(at, known.timeout, known.grace, at))


def _copied(renewal: _Renewal, new_id: str, now: int) -> Life:
    """Return the life of a run that goes on with what the old one has come to.

    Of tries only what says that a task may not begin: whatever else was tried is tried anew, from its first try.
    """
    old, past, order = renewal.run.life, renewal.past, renewal.order
    again = {key for key in past.once if name_of(key) in order.again}
    tries = {
        number: one
        for number, one in old.tries.items()
        if (is_start(one) or one.key == DETAILS) and one.key not in again
    }
    workers, triers = entries_and_tries_held(renewal.run)
    return Life(
        workers=workers,
        triers=triers,
        journal=[*old.journal, retrying.entry(past, order, run_id=new_id, now=now)],
        tries=tries,
        made={number: old.made[number]._replace(epoch=0) for number in tries},
        tasks=sum(is_task(entry.key) for entry in past.history.entries[: renewal.at]),
    )


def _adopt(store: Store, renewal: _Renewal, made: dict[str, Run]) -> None:
    """Give a new run the children that it still has, and its parent."""
    new, parent = renewal.new, renewal.parent
    assert new is not None, "a run that was not made"
    new.parent = parent.new if isinstance(parent, _Renewal) else parent
    new.parent_generation = 0 if new.parent is None else new.parent.generation
    for child in renewal.family.kept:
        old = renewal.run.children[child.start_id]
        run = made.get(child.run_id, old.child)
        new.children[child.start_id] = Link(
            new, child.start_id, run, old.owned, old.parent_close, new.generation, old.created_at
        )
    for child in renewal.family.attached:
        attach(store, new.children[child.start_id])


def attach(store: Store, link: Link) -> None:
    """Have a run hear of the end of a child; of one that has been, once more."""
    if link.owned:
        link.child.parent, link.child.parent_generation = link.parent, link.generation
    else:
        link.child.hearers += [] if link in link.child.hearers else [link]
    if link.child.is_over:
        store.telling.append(Telling(link.parent, link.start_id, link.generation, link.child))


def _from(order: Retry) -> str:
    if order.task is not None:
        return f", from task {order.task}"
    if order.start:
        return ", from the start with another input" if order.input else ", from the start"
    return ""
