"""Own what becomes of a run in memory that is tried again by its own rule, as the daemon does it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiki.rules import again
from aiki.rules.retrying import Past
from aiki.wire.messages import Retried, Unit
from tests.worlds import retries
from tests.worlds.families import Link

if TYPE_CHECKING:
    from tests.worlds.world import World


def judged(world: World, unit: Unit) -> Unit:
    """Return the unit as it is written: that of a run which may not be tried again has it fail."""
    if not again.is_again(unit):
        return unit
    if world.is_told:
        return again.given_up(unit, again.IS_TO_END)
    retried = again.retried_of(unit)
    if retried is None:
        return unit
    assert retried.attempt == world.attempt + 1, "not the next attempt"
    past = retries.past_of(world, [*world.journal, *unit.entries[:-1]])
    why = again.refusal(past, retried.cut)
    if why is None:
        below = retries.refusal_below(world, again.to_renew(past, retried.cut), retries.FROM_FAILURE)
        why = None if below is None else below.words()
    return unit if why is None else again.given_up(unit, why)


def go_on(world: World, unit: Unit) -> None:
    """Have the run go on behind a failure, or anew, whose unit has just been written."""
    if not again.is_again(unit):
        return
    retried = again.retried_of(unit)
    if retried is None:
        events = _begin_anew(world)
    else:
        events = _go_on(world, retried, retries.past_of(world, world.journal[:-1]))
    world.attempt += 1
    world.standing = replace(world.standing, unread=world.standing.unread + events)


def _begin_anew(world: World) -> int:
    here = {number for entry in world.journal for number in entry.takes}
    events = world.inbox.give_back(set(world.inbox.taken) - here)
    world.left.append((world.input, world.journal))
    world.given_back.add(len(world.left) - 1)
    world.journal, world.attempts, world.began = [], [], None
    world.family.close_later()
    return events


def _go_on(world: World, retried: Retried, past: Past) -> int:
    at = retried.cut
    events = world.inbox.give_back(retries.kept(world, past, at))
    for child in again.to_renew(past, at):
        old = world.family.children[child.start_id]
        new = retries.retry(old.child.newest, retries.FROM_FAILURE)
        retries.adopt(Link(world, old.start_id, new, old.owned, old.parent_close, world.generation), old)
    for child in again.to_attach(past, at):
        link = world.family.children[child.start_id]
        link.told = False
        retries.tell_again(link)
    for run_id in again.to_cancel(past, at):
        world.runs[run_id].cancel()
    return events
