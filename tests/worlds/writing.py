"""Own what a unit does to a run in memory, as the daemon does it, and what no unit may do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiki.core.errors import PayloadError
from aiki.core.keys import DETAILS
from aiki.core.states import Move
from aiki.inside.asks import Wait
from aiki.rules import arriving, recording
from aiki.rules.checking import check_unit
from aiki.rules.histories import read
from aiki.rules.recording import Tries
from aiki.wire.messages import Attempt, End, Recorded, SendOp, Unit
from tests.worlds.again import go_on, judged

if TYPE_CHECKING:
    from tests.worlds.world import World


def write(world: World, unit: Unit) -> Recorded:
    """Do what the daemon does with a unit: children are started first, and stopped last."""
    try:
        check_unit(unit, room=world.room())
    except PayloadError as error:
        return Recorded("refused", error.message)
    _check(world, unit)
    unit = judged(world, unit)
    coming = world.family.start(unit.starts)
    fired = None if unit.timer is None else world.inbox.fires(unit.timer)
    consumed = world.inbox.consume(unit.entries)
    coming += [word for op in unit.ops for word in _send(world, op)]
    tries = _tries(world)
    recorded, standing = recording.record(world.standing, unit, world.journal, tries, fired=fired, coming=coming)
    assert recorded.result == "done", recorded
    world.units.append(unit)
    world.journal += recording.told(unit, recorded).entries
    world.attempts = _tried(tries, unit)
    world.labels = dict(world.labels if unit.labels is None else unit.labels)
    world.standing = replace(standing, unread=standing.unread - consumed)
    if fired is not None:
        world.timers.append(fired)
    world.refused_parks += not recorded.parked
    if unit.end is not None and recorded.parked:
        _end(world, unit.end)
    _repeat(world, unit, recorded)
    if coming:
        world.tell()
    world.family.stop(unit.stops)
    world.family.recorded(unit)
    go_on(world, unit)
    return recorded


def refuse(world: World, unit: Unit) -> None:
    """See that a unit does nothing that comes when its claim is lost."""
    recorded, standing = recording.record(world.standing, unit, world.journal, _tries(world))
    assert (recorded.result, standing) == ("fenced", world.standing), recorded


def _repeat(world: World, unit: Unit, answer: Recorded) -> None:
    """See that a unit whose answer is lost is answered as before, and done once."""
    recorded, standing = recording.record(world.standing, unit, world.journal, _tries(world))
    assert standing == world.standing
    assert (recorded.result, recorded.parked) == ("done", answer.parked), recorded
    assert (recorded.timer == "done") == (answer.timer == "done"), recorded


def _check(world: World, unit: Unit) -> None:
    assert unit.base == len(world.journal), "a gap in the journal, or a repeat"
    has_ops = unit.ops or unit.starts or unit.stops or unit.labels is not None
    assert unit.entries or unit.attempts or unit.end or has_ops or unit.timer, "an empty unit"
    assert unit.timer is None or unit.end is None, "a claim that ends asks a timer"


def _end(world: World, end: End) -> None:
    is_parked = world.is_parked and end.move is not Move.AGAIN  # who has failed waits for nothing any more
    assert not is_parked or not answered(world), "it is parked beside what it waits for"
    world.end = end
    world.ends.append(end.move)
    if end.move is Move.CONTINUE:
        _go_on(world, end)


def _go_on(world: World, end: End) -> None:
    """Begin the next generation: nothing of the last one is left but what it shows of itself."""
    world.left.append((world.input, world.journal))
    world.journal = []
    world.attempts = [one for one in world.attempts if one.key == DETAILS]
    world.input = bytes(end.input)
    world.attempt, world.began = 1, None
    world.inbox.leave_generation()


def _tries(world: World) -> Tries:
    return {(one.key, one.attempt): one for one in world.attempts}


def _tried(known: Tries, unit: Unit) -> list[Attempt]:
    tries = dict(known)
    for number, one in recording.tries_of(unit).items():
        # Only a start may be on record already, or what was said: then this is what came of it.
        before = tries.get(number)
        assert before is None or recording.is_under_way(before) or recording.is_start(before) > recording.is_start(one)
        tries[number] = recording.tried(before, one)
    return list(tries.values())


def _send(world: World, op: SendOp) -> list[str]:
    """Send for the run; return the words of what reaches it by that itself."""
    if world.inbox.has_outcome(op.id):
        return []
    words = []
    target = world.runs.get(op.run_id)
    target = target and target.newest
    if target is world:
        outcome = world.inbox.send(world.standing, op)
        if outcome == arriving.TAKEN:
            words.append(arriving.word("event", op.name))
    else:
        outcome = arriving.UNKNOWN if target is None else target.receive(op)
    world.inbox.add_outcome(op.id, outcome)
    return [*words, arriving.OP]


def answered(world: World, until: int | None = None) -> list[str]:
    """Return the keys of waits, under the claim that goes on, for which enough had come by then that nobody took.

    What its worker has taken and not yet recorded counts as taken.
    """
    execution = world.execution
    if execution is None or execution._body is None or _is_under_way(world):
        return []
    queued = {row.number for queue in execution._arrivals._events.values() for row in queue}
    left = [row for row in world.inbox.arrivals if row.number in queued or row.number > execution._arrivals.seen]
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
    return any(key.startswith("cancel:") for key in keys) and not any(key.startswith("interrupt:") for key in keys)
