"""Fire schedules out of turn: one now, or slots that lie behind."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from aiki.core.errors import AikiError, UsageError
from aiki.core.failpoints import failpoint
from aiki.rules import scheduling
from aiki.rules.scheduling import Decided, Decision
from aiki.wire.messages import BackfillSchedule, FiredReply, Slot, TriggerSchedule
from aikid.engine import standing
from aikid.engine.changes import Done
from aikid.engine.firing import Firing
from aikid.engine.standing import BYTES, Stand
from aikid.store import prepared, schedules, slots
from aikid.store.pool import Connection, Pool


async def trigger(pool: Pool, namespace: str, request: TriggerSchedule, *, room: int) -> Done[FiredReply]:
    """Fire a schedule now: the request's id is that of the run, by which a repeat finds it. Raises Unavailable."""

    async def work(connection: Connection) -> Done[FiredReply]:
        async with prepared.transaction(connection):
            stand = await _locked(connection, namespace, request.name)
            if stand is None:
                return Done([FiredReply(known=False)])
            schedule_id, firing = stand.row.schedule.id, Firing(room)
            slot = await slots.triggered(connection, schedule_id, request.id)
            if slot is None:
                row = scheduling.trigger(stand.look, await slots.last(connection, schedule_id, "trigger"))
                slot = row.slot
                decision = Decision(rows=(row,), decided=stand.row.decided, zones=stand.row.zones, look_at=None)
                firing.add(stand, decision, run_id=request.id)
                await firing.write(connection)
            failpoint("schedule.before_commit")
            told = await slots.between(connection, schedule_id, "trigger", slot, slot + 1)
            return Done([FiredReply(told)], firing.changes)

    return await pool.run(work)


async def backfill(pool: Pool, namespace: str, request: BackfillSchedule, *, room: int) -> Done[FiredReply | AikiError]:
    """Fire slots that lie behind and have no run, or say which these are. Raises Unavailable."""

    async def work(connection: Connection) -> Done[FiredReply | AikiError]:
        async with prepared.transaction(connection):
            stand = await _locked(connection, namespace, request.name)
            if stand is None:
                return Done([FiredReply(known=False)])
            schedule_id, firing = stand.row.schedule.id, Firing(room)
            taken = await slots.taken(connection, schedule_id, request.start, request.end)
            decision = _decided(stand, request, taken)
            if request.dry_run:
                return Done([FiredReply([_slot(stand, row) for row in decision.rows])])
            firing.add(stand, decision)
            await firing.write(connection)
            await firing.place(connection)
            failpoint("schedule.before_commit")
            told = await slots.between(connection, schedule_id, "backfill", request.start, request.end)
            return Done([FiredReply(told)], firing.changes)

    try:
        return await pool.run(work)
    except UsageError as error:
        return Done([error])


async def _locked(connection: Connection, namespace: str, name: str) -> Stand | None:
    rows = await schedules.lock(connection, namespace, [name])
    stands = await standing.read(connection, list(rows.values()))
    return stands[0] if stands else None


def _decided(stand: Stand, request: BackfillSchedule, taken: AbstractSet[int]) -> Decision:
    """Return what becomes of the slots; all else stays decided as it is. Raises UsageError for what is too much."""
    decision = scheduling.backfill(stand.look, request.start, request.end, overlap=request.overlap, taken=taken)
    starts = sum(row.result == "started" for row in decision.rows)
    if starts > 1 and starts * len(stand.row.schedule.input) > BYTES:
        raise UsageError(
            f"{starts} runs of an input of {len(stand.row.schedule.input):,} bytes are too much for one backfill",
            hint="ask for a shorter range",
        )
    return replace(decision, zones=stand.row.zones)


def _slot(stand: Stand, row: Decided) -> Slot:
    return Slot(row.slot, row.result, stand.row.now, row.kind, row.reason)
