"""Own what claims come to: each unit all or none, under its fence, with all that it does to other runs."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from aiki.core.errors import PayloadError
from aiki.core.states import Move, State
from aiki.rules import recording
from aiki.rules.again import is_again
from aiki.rules.checking import check_unit
from aiki.rules.families import check as check_family
from aiki.rules.judging import begins_generation
from aiki.rules.standing import Standing
from aiki.testing.memory import families, onward, task_keys
from aiki.testing.memory.run import Run
from aiki.testing.memory.sends import send_op
from aiki.testing.memory.store import Store
from aiki.wire.messages import End, Record, Recorded, RecordReply, Unit


def record(store: Store, request: Record) -> RecordReply:
    """Write the units that hold, and say of each what became of it."""
    return RecordReply(store.now(), [write(store, unit) for unit in request.units])


def write(store: Store, unit: Unit) -> Recorded:
    """Write a unit if it holds."""
    try:
        check_unit(unit, room=store.room)
        if unit.starts or unit.stops:
            check_family(unit, room=store.room)
    except PayloadError as error:
        return Recorded("refused", error.message)
    run = store.runs.get(unit.fence.run_id)
    if run is None:
        return recording.FENCED
    if not recording.fits(run.standing, unit) or run.inbox.lacks(unit.entries):
        return _undone(store, run, unit)
    if unit.keys and task_keys.is_foreign(store, run, unit):
        return recording.CONFLICT
    return families.refusal(store, run, unit) or onward.refusal(run, unit) or _write(store, run, unit)


def _undone(store: Store, run: Run, unit: Unit) -> Recorded:
    """Say of a unit that is not written what it is; who repeats one is told of its keys once more."""
    recorded = recording.undone(run.standing, unit, run.life.journal, run.life.tries)
    is_repeat = unit.keys and recorded.result == "done" and run.session is not None
    return structs.replace(recorded, keys=task_keys.repeat(store, run, unit)) if is_repeat else recorded


def _write(store: Store, run: Run, unit: Unit) -> Recorded:
    """Write a unit that holds. What it has children do goes before all else of it, but for cancels: these come last."""
    unit, past = onward.judged(store, run, unit)
    life, asker = run.life, task_keys.asker_of(run)
    coming = families.start(store, run, unit.starts)
    stopping = families.look(store, run, unit.stops)
    coming += families.answer(store, run, stopping)
    fired = None if unit.timer is None else run.inbox.fires(unit.timer, clock=store.now())
    consumed = run.inbox.consume(unit.entries, generation=run.generation, base=unit.base)
    coming += [word for op in unit.ops for word in send_op(store, run, op)]
    recorded, after = recording.record(run.standing, unit, life.journal, life.tries, fired=fired, coming=coming)
    life.write(recording.told(unit, recorded).entries)
    life.note(unit, store.now())
    store.recorded[run.id] = run
    if unit.labels is not None:
        run.labels = dict(unit.labels)
    after = replace(after, unread=after.unread - consumed) if consumed else after
    if unit.end is None or not recorded.parked:
        store.stand(run, after)
    else:
        _end(store, run, unit, unit.end, after)
    if is_again(unit):
        onward.go_on(store, run, unit, past)
    if coming:
        store.tell(run)
    families.stop(store, run, stopping)
    if recording.is_cancelled(unit) and not run.is_over:
        store.close_children(run)
    return structs.replace(recorded, keys=task_keys.carry_out(store, asker, run, unit)) if unit.keys else recorded


def _end(store: Store, run: Run, unit: Unit, end: End, after: Standing) -> None:
    """Have a claim end as its unit says."""
    now, length = store.now(), unit.base + len(unit.entries) or None
    is_paused = after.state is State.PAUSED
    run.tell(now, end.move, reason=end.why, length=length)
    run.why = run.why if is_paused else end.why
    run.output, run.error, run.waits = end.output, end.error, end.waits
    if begins_generation(end):
        onward.begin_generation(store, run, end)
    store.stand(run, after)
    if is_paused:
        run.tell(now, Move.PAUSE, length=length)
