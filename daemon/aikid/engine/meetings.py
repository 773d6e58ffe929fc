"""Decide what becomes of starts with keys: a new run, one that has the key already, or none."""

from __future__ import annotations

from aiki.rules.enqueueing import Stored, is_retried
from aiki.rules.families import meet, waiting_for
from aiki.wire.messages import Started
from aikid.engine import conflicts
from aikid.engine.births import Births
from aikid.store import enqueue, watches
from aikid.store.answers import Answer
from aikid.store.pool import Connection
from aikid.store.watches import Watch


async def settle(connection: Connection, births: Births) -> tuple[list[Answer], int]:
    """Attach the parents of `births` to what holds their keys; return the outcomes, and how many errands that left.

    The births are inserted. Raises Undone for units that start what is another's.
    """
    keyed = [n for n, (_, run) in enumerate(births.rows) if run.options.key is not None]
    met: dict[int, Started] = {}
    left = 0
    if births.unmet:
        met = await _meet(connection, births)
        found = [Watch(births.births[n], births.rows[n][1].id, one.run_id) for n, one in met.items() if _holds(one)]
        left = await watches.watch(connection, found) if found else 0
    answers = [Answer(births.births[n].parent_id, births.rows[n][1].id, met.get(n) or _known(births, n)) for n in keyed]
    return answers, left


async def _meet(connection: Connection, births: Births) -> dict[int, Started]:
    rows = [births.rows[n] for n in births.unmet]
    holders = await enqueue.find_by_key(connection, rows)
    known = {
        n: holder
        for n, (namespace, run) in zip(births.unmet, rows, strict=True)
        if (holder := holders.get((namespace, run.workflow, run.options.key or ""))) is not None
    }
    births.refuse([n for n in births.unmet if n not in known])
    waiting = await watches.waiting(connection, [births.births[n].parent_id for n in births.unmet])
    met: dict[int, Started] = {}
    attached: list[tuple[str, str]] = []
    for n, holder in known.items():
        parent_id = births.births[n].parent_id
        met[n] = meet(births.rows[n][1], holder, waiting_for(parent_id, waiting, attached))
        if _holds(met[n]) and is_retried(births.rows[n][1], holder):
            met[n] = await _retry(connection, births, n, holder)
        if _holds(met[n]):
            attached.append((parent_id, met[n].run_id))
    return met


async def _retry(connection: Connection, births: Births, n: int, holder: Stored) -> Started:
    """Retry the failed run that holds the key of a start; if that is refused there is a conflict, which says why."""
    namespace, run = births.rows[n]
    answer, changes = await conflicts.retry_one(connection, namespace, run, holder)
    births.retried.add(changes)
    if answer.error is None:
        return Started("existing", answer.id)
    return Started("conflict", answer.id, answer.error.message)


def _holds(started: Started) -> bool:
    return started.result == "existing"


def _known(births: Births, n: int) -> Started:
    """Return the outcome of a start that stands: it is new, or was carried out before."""
    run_id = births.rows[n][1].id
    child = births.known.get((births.births[n].parent_id, run_id))
    if child is None or child.is_owned:
        return Started("started", run_id)
    return Started("existing", child.run_id)
