"""Own events by name: a value that holds no type, read and checked by what the workflow of each run declares.

What a workflow does not declare is left to the daemon, which says what was meant. So is a run that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from aiki.client import matching, waits
from aiki.client.matching import RunFilter
from aiki.client.named import RouteBook, encoded
from aiki.client.sending import Parcel
from aiki.client.wire import Wire
from aiki.core.errors import PayloadError, UsageError
from aiki.wire.declared import Events
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Workflows
from aiki.wire.subjects import is_token


async def parcels(
    wire: Wire, routes: RouteBook, run_ids: Sequence[str], name: str, value: Any
) -> list[tuple[str, Parcel]]:
    """Return what to send to each run. Raises PayloadError, with the place, if the value does not fit one of them."""
    if not is_token(name):
        raise UsageError(f"{name[:80]!r} is no event's name: names have 1 to 64 of A-Z a-z 0-9 _ -")
    made: dict[tuple[str, str] | None, Parcel] = {}
    sent: list[tuple[str, Parcel]] = []
    # A status is much larger than what is kept of it.
    for start in range(0, len(run_ids), BATCH_RUNS):
        some = run_ids[start : start + BATCH_RUNS]
        found = await waits.read(wire, list(some))
        for run_id in some:
            run = found.get(run_id)
            route = None if run is None else (run.workflow, run.version)
            if route not in made:
                made[route] = _parcel(name, value, None if route is None else await routes.events(*route), route)
            sent.append((run_id, made[route]))
    return sent


async def check(wire: Wire, routes: RouteBook, wanted: RunFilter, name: str, value: Any) -> None:
    """Raise PayloadError if the value does not fit what the workflow of one of the runs declares.

    Nothing is asked of the runs of a workflow that it fits: however many they are, that costs nothing.
    """
    cursor: str | None = None
    while True:
        reply = await wire.call(Workflows(wanted.workflow, cursor))
        for route in reply.routes:
            if wanted.version in (None, route.version):
                await _check_route(wire, routes, wanted, (route.workflow, route.version), name, value)
        if (cursor := reply.cursor) is None:
            return


async def _check_route(
    wire: Wire, routes: RouteBook, wanted: RunFilter, route: tuple[str, str], name: str, value: Any
) -> None:
    try:
        _parcel(name, value, await routes.events(*route), route)
    except PayloadError:
        of_route = replace(wanted, workflow=route[0], version=route[1])
        async with aclosing(matching.pages(wire, of_route)) as found:
            async for _ in found:
                raise


def _parcel(name: str, value: Any, events: Events, route: tuple[str, str] | None) -> Parcel:
    form = {} if events is None else events.get(name, {})
    of = "" if route is None else f" of {route[0]!r} {route[1]}"
    return Parcel(name, *encoded(value, form, f"event {name!r}{of}"))
