"""Own what must hold of a unit that a worker writes of a run in memory, before and behind that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki.core.keys import CANCEL, INTERRUPT, beginning
from aiki.core.states import TERMINAL, Move, State
from aiki.inside.asks import Wait
from aiki.rules import recording
from aiki.rules.again import IS_TO_END, given_up, is_again
from aiki.rules.histories import read
from aiki.testing.memory import record
from aiki.wire.messages import End, Recorded, Unit

if TYPE_CHECKING:
    from tests.worlds.world import World

NOT_AGAIN = "not tried again"


def write(world: World, unit: Unit) -> Recorded:
    """Do what the daemon does with a unit; it is not heard of yet."""
    _check(world, unit)
    if world.is_reopened and is_again(unit):  # what has forbidden it may be over since
        unit = given_up(unit, IS_TO_END)
    rows = world.run.inbox.rows
    world.log |= {number: rows[number] for entry in unit.entries for number in entry.takes}
    generation, input = world.generation, world.input
    recorded = record.write(world.store, unit)
    if recorded.result == "refused":
        return recorded
    assert recorded.result == "done", recorded
    world.units.append(unit)
    if recording.is_cancelled(unit):
        world.cancelled_at = min(world.cancelled_at, world.clock())
    world.timers += [] if recorded.timer is None else [recorded.timer]
    world.refused_parks += not recorded.parked
    end = unit.end if recorded.parked else None
    if end is not None:
        _ended(world, end, generation, input)
    if world.end is None or not (world.end.why or "").startswith(NOT_AGAIN):
        _repeat(world, unit, recorded)
    return recorded


def refuse(world: World, unit: Unit) -> None:
    """See that a unit does nothing that comes when its claim is lost."""
    before = world.standing
    recorded = record.write(world.store, unit)
    assert (recorded.result, world.standing) == ("fenced", before), recorded


def _check(world: World, unit: Unit) -> None:
    assert unit.base == len(world.journal), "a gap in the journal, or a repeat"
    has_ops = unit.ops or unit.starts or unit.stops or unit.labels is not None or unit.keys
    assert unit.entries or unit.attempts or unit.end or has_ops or unit.timer, "an empty unit"
    assert unit.timer is None or unit.end is None, "a claim that ends asks a timer"
    for number, one in recording.tries_of(unit).items():
        # Only a start may be on record already, or what was said: then this is what came of it.
        before = world.run.life.tries.get(number)
        assert before is None or recording.is_under_way(before) or recording.is_start(before) > recording.is_start(one)
    _check_takes(world, unit)


def _check_takes(world: World, unit: Unit) -> None:
    """What comes in is taken once, and first in, first out."""
    unread, taken = dict(world.run.inbox.unread), world.run.inbox.taken
    for entry in unit.entries:
        for number in entry.takes:
            assert number in unread, f"{entry.key} takes {number} again, after {taken.get(number)}"
            row = unread.pop(number)
            older = [one for one in unread.values() if (one.kind, one.name) == (row.kind, row.name)]
            assert not older or older[0].number > number, f"{entry.key} takes {number} before {older[0].number}"


def _ended(world: World, end: End, generation: int, input: bytes) -> None:
    """Take note of how a claim has ended; it is never parked beside what it waits for."""
    is_given_up = end.move is Move.AGAIN and world.state is State.FAILED
    if is_given_up:
        end = End(Move.FAIL, error=end.error, why=world.run.why, parent=end.parent)
    if world.state in TERMINAL:  # of one that is given up, its parent is told by an errand alone
        assert end.parent == (world.run.parent is not None) or is_given_up, f"{end.move}: does it have a parent?"
    is_parked = world.is_parked and end.move is not Move.AGAIN  # who has failed waits for nothing any more
    assert not is_parked or not answered(world), "it is parked beside what it waits for"
    world.end = end
    world.ends.append(end.move)
    if world.generation > generation:
        world.left.append((input, world.run.past[-1].journal))
        if end.anew:
            world.given_back.add(generation)


def _repeat(world: World, unit: Unit, answer: Recorded) -> None:
    """See that a unit whose answer is lost is answered as before, and done once."""
    before = world.standing
    recorded = record.write(world.store, unit)
    assert world.standing == before
    assert (recorded.result, recorded.parked) == ("done", answer.parked), recorded
    assert (recorded.timer == "done") == (answer.timer == "done"), recorded
    assert world.run.session is None or recorded.keys == answer.keys, recorded


def answered(world: World, until: int | None = None) -> list[str]:
    """Return the keys of waits, under the claim that goes on, for which enough had come by then that nobody took.

    What its worker has taken and not yet recorded counts as taken.
    """
    execution = world.execution
    if execution is None or execution._body is None or _is_under_way(world):
        return []
    queued = {row.number for queue in execution._arrivals._events.values() for row in queue}
    rows = world.run.inbox.rows.values()
    left = [row for row in rows if row.number in queued or row.number > execution._arrivals.seen]
    found = []
    for call, _ in execution._body._calls.waiting.values():
        if isinstance(call.ask, Wait):
            names = [event.name for event in call.ask.events]
            come = [row for row in left if row.name in names and (until is None or row.at <= until)]
            if len(come) >= call.ask.count:
                found.append(call.key)
    return found


def _is_under_way(world: World) -> bool:
    """Tell whether a cancel holds back all but ends of children."""
    keys = [entry.key for entry in read(world.journal).entries]
    is_interrupted = any(key.startswith(beginning(INTERRUPT)) for key in keys)
    return any(key.startswith(beginning(CANCEL)) for key in keys) and not is_interrupted
