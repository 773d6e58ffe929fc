"""Own how runs go on behind the end of a claim: in their next generation, or tried again by their own rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiki.core.keys import is_task
from aiki.rules import again, retrying
from aiki.rules.retrying import Past
from aiki.testing.memory import cancels, pasts, retries
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Store
from aiki.wire.messages import CancelNote, End, Recorded, Unit

_BY_PARENT: Final = CancelNote(reason="parent")


def begin_generation(store: Store, run: Run, end: End) -> None:
    """Begin a run's next life. One that has no other input is tried again."""
    run.inbox.leave(run.generation)
    run.past.append(run.life)
    run.life = run.life.next(run.standing.epoch)
    run.attempt = 1 if end.input else run.attempt + 1
    run.input = end.input or run.input
    run.version = end.version or run.version
    run.began_at = None
    store.routes.setdefault(run.route, None)


def refusal(run: Run, unit: Unit) -> Recorded | None:
    """Return why a unit by which its run is tried again makes no sense; None if it does, or does no such thing."""
    retried = again.retried_of(unit) if again.is_again(unit) else None
    if retried is None or run.cancel_seq is not None or retried.attempt == run.attempt + 1:
        return None
    return Recorded("refused", f"its next attempt is {run.attempt + 1}, not {retried.attempt}")


def judged(store: Store, run: Run, unit: Unit) -> tuple[Unit, Past | None]:
    """Return the unit as it is written, that of a run which may not be tried again as one by which it fails.

    Of one that goes on from its failure also what a retry needs to know.
    """
    if not again.is_again(unit):
        return unit, None
    if run.cancel_seq is not None:
        return again.given_up(unit, again.IS_TO_END), None
    retried = again.retried_of(unit)
    if retried is None:
        return unit, None
    past = pasts.past_of(run, unit)
    why = again.refusal(past, retried.cut)
    why = why or retries.refusal_of_children(store, again.to_renew(past, retried.cut))
    return (unit, past) if why is None else (again.given_up(unit, why), None)


def go_on(store: Store, run: Run, unit: Unit, past: Past | None) -> None:
    """Have a run go on, whose claim has just ended so that it is tried again: from its failure, or anew."""
    retried = again.retried_of(unit)
    if retried is None or past is None:
        _begin_anew(store, run)
    else:
        _go_on(store, run, past, retried.cut)


def _begin_anew(store: Store, run: Run) -> None:
    """Give back the events that the life before has taken, and have its children end."""
    _count(store, run, run.inbox.begin_anew(run.generation - 1))
    store.close_children(run)


def _go_on(store: Store, run: Run, past: Past, at: int) -> None:
    """Give back what was taken behind the cut, and retry with the run the children that have failed it."""
    run.attempt += 1
    run.life.tasks = sum(is_task(entry.key) for entry in past.history.entries[:at])
    renewed, others = again.to_renew(past, at), again.to_attach(past, at)
    awaited = {child.start_id for child in (*renewed, *others)}
    _count(store, run, run.inbox.go_on(run.generation, retrying.kept(past, at), awaited))
    news = retries.renew_children(store, run, renewed)
    for child in renewed:
        run.children[child.start_id].child = news[child.run_id]
    for child in others:
        link = run.children[child.start_id]
        link.child = store.runs[child.run_id]
        retries.attach(store, link)
    for run_id in again.to_cancel(past, at):
        cancels.cancel(store, store.runs[run_id], _BY_PARENT)


def _count(store: Store, run: Run, events: int) -> None:
    """Take note that so many events are unread again."""
    store.stand(run, replace(run.standing, unread=run.standing.unread + events))
