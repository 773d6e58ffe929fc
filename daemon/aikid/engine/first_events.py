"""Own the events that enqueues send their runs: refused before anything is stored, and brought in the same commit."""

from __future__ import annotations

from collections.abc import Sequence

from aiki.core.errors import NotFound
from aiki.rules.enqueueing import refused, told
from aiki.wire import declared
from aiki.wire.messages import Enqueued, Sent
from aikid.store import inbox, routes
from aikid.store.enqueue import Row
from aikid.store.inbox import Reached
from aikid.store.pool import Connection, Pool


async def undeclared(pool: Pool, rows: Sequence[Row]) -> dict[int, Enqueued]:
    """Return the answers, by place, for rows whose workflows do not take the events that they send.

    Raises Unavailable.
    """
    sending = [place for place, (_, run) in enumerate(rows) if run.options.send is not None]
    if not sending:
        return {}
    wanted = {(namespace, run.workflow, run.version) for namespace, run in (rows[place] for place in sending)}
    taken = await pool.run(lambda c: routes.taken(c, wanted))
    answers: dict[int, Enqueued] = {}
    for place in sending:
        namespace, run = rows[place]
        names = taken.get((namespace, run.workflow, run.version))
        if names is not None and run.options.send is not None and run.options.send.name not in names:
            error = NotFound(declared.unknown(run.workflow, run.options.send.name, names))
            answers[place] = refused(run.id, error)
    return answers


async def bring(
    connection: Connection, rows: Sequence[Row], answers: Sequence[Enqueued]
) -> tuple[list[Enqueued], Reached]:
    """Send the rows' events to the runs that they were answered with; return the answers then, and whom it reached.

    The id of each send is that of the row, which is the run's only if the run is new: so a repeat is known by it.
    """
    made = list(answers)
    namespaces: list[str] = []
    events: list[Sent] = []
    places: list[int] = []
    for place, (namespace, run) in enumerate(rows):
        if (first := run.options.send) is not None and made[place].error is None:
            namespaces.append(namespace)
            events.append(Sent(made[place].id, run.id, first.name, first.value))
            places.append(place)
    if not events:
        return made, Reached()
    outcomes, reached = await inbox.send(connection, namespaces, events)
    for place, outcome in zip(places, outcomes, strict=True):
        made[place] = told(rows[place][1], made[place], outcome)
    return made, reached
