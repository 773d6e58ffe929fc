"""Own what becomes of a run in memory that is tried again by its own rule, as the daemon does it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiki.rules import again
from aiki.rules.histories import read
from aiki.rules.retrying import Past
from aiki.wire.messages import Unit

if TYPE_CHECKING:
    from tests.worlds.world import World


def judged(world: World, unit: Unit) -> Unit:
    """Return the unit as it is written: that of a run which may not be tried again has it fail."""
    if not again.is_again(unit):
        return unit
    if any(arrival.kind == "cancel" for arrival in world.inbox.arrivals):
        return again.given_up(unit, again.IS_TO_END)
    retried = again.retried_of(unit)
    if retried is None:
        return unit
    assert retried.attempt == world.attempt + 1, "not the next attempt"
    journal = [*world.journal, *unit.entries[:-1]]
    past = Past(world.run_id, world.state, world.attempt, read(journal), len(journal), 0)
    why = again.refusal(past, retried.cut)
    return unit if why is None else again.given_up(unit, why)


def go_on(world: World, unit: Unit) -> None:
    """Have the run go on behind a failure, or anew, whose unit has just been written."""
    if not again.is_again(unit):
        return
    world.attempt += 1
    retried = again.retried_of(unit)
    kept: set[str] = set()
    if retried is None:
        world.journal, world.attempts, world.began = [], [], None
        kinds = {"event"}
    else:
        kinds = {"event", "op"}
        kept = {entry.key for entry in read(world.journal).entries[: retried.cut]}
    rows = {row.number: row for row in world.inbox.arrivals}
    back = [number for number, key in world.inbox.taken.items() if key not in kept and rows[number].kind in kinds]
    for number in back:
        del world.inbox.taken[number]
    events = sum(rows[number].kind == "event" for number in back)
    world.standing = replace(world.standing, unread=world.standing.unread + events)
