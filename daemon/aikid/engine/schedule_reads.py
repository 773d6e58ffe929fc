"""Read schedules: how each stands, what became of its slots, and when it fires next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import assert_never

from msgspec.structs import replace

from aiki.core.errors import AikiError
from aiki.rules import scheduling
from aiki.rules.zones import zone
from aiki.wire.codec import encode
from aiki.wire.limits import LIST_ITEMS
from aiki.wire.messages import (
    ListSchedules,
    NextReply,
    NextSlots,
    ScheduleInfo,
    ScheduleReply,
    SchedulesReply,
    ShowSchedule,
    Slot,
)
from aiki.wire.packing import fitting, reply_room
from aikid.engine import standing
from aikid.engine.standing import Stand
from aikid.engine.turns import in_turns
from aikid.store import routes, schedules, slots
from aikid.store.pool import Connection, Pool


async def answer(
    pool: Pool, namespace: str, request: ListSchedules | ShowSchedule | NextSlots, *, room: int
) -> SchedulesReply | ScheduleReply | NextReply:
    """Return the reply to a reader. Raises Unavailable."""
    match request:
        case ListSchedules():
            return await _list(pool, namespace, request, room=room)
        case ShowSchedule():
            return await _show(pool, namespace, request, room=room)
        case NextSlots():
            return await _next_slots(pool, namespace, request)
        case _:
            assert_never(request)


async def _list(pool: Pool, namespace: str, request: ListSchedules, *, room: int) -> SchedulesReply:
    """Return the schedules behind a name, as many as fit. Raises Unavailable."""
    limit = max(1, min(request.limit, LIST_ITEMS))

    async def work(connection: Connection) -> list[ScheduleInfo]:
        rows = await schedules.page(
            connection, namespace, after=request.after, project=request.project, limit=limit + 1, limit_bytes=room
        )
        return await infos(connection, await standing.look(connection, rows))

    found = await pool.run(work)
    count = fitting((len(encode(info)) + 1 for info in found), reply_room(room), limit)
    return SchedulesReply(found[:count], more=count < len(found))


async def _show(pool: Pool, namespace: str, request: ShowSchedule, *, room: int) -> ScheduleReply:
    """Return a schedule and what became of its latest slots, as many as fit. Raises Unavailable."""

    async def work(connection: Connection) -> tuple[list[ScheduleInfo], list[Slot]]:
        row = await schedules.named(connection, namespace, request.name)
        if row is None:
            return [], []
        known = await infos(connection, await standing.look(connection, [row]))
        return known, await slots.latest(connection, row.schedule.id, limit=request.slots)

    found, latest = await pool.run(work)
    if not found:
        return ScheduleReply()
    left = reply_room(room) - len(encode(found[0]))
    return ScheduleReply(found[0], latest[: fitting((len(encode(slot)) + 1 for slot in latest), left)])


async def _next_slots(pool: Pool, namespace: str, request: NextSlots) -> NextReply:
    """Return when a schedule fires next. Raises Unavailable."""
    row = await pool.run(lambda c: schedules.named(c, namespace, request.name))
    if row is None:
        return NextReply(known=False)
    return NextReply(await asyncio.to_thread(scheduling.next_slots, Stand(row).look, request.count))


async def infos(connection: Connection, stands: Sequence[Stand]) -> list[ScheduleInfo]:
    """Return schedules as they are told of."""
    wanted = {(one.row.namespace, one.row.schedule.workflow, one.row.schedule.version) for one in stands}
    served = await routes.served(connection, wanted)
    made = []
    async for one in in_turns(stands):
        route = (one.row.namespace, one.row.schedule.workflow, one.row.schedule.version)
        made.append(replace(info(one), served=route in served))
    return made


def info(stand: Stand) -> ScheduleInfo:
    """Return a schedule as it stands."""
    row = stand.row
    return ScheduleInfo(
        schedule=row.schedule,
        created_at=row.created_at,
        updated_at=row.updated_at,
        revision=row.revision,
        paused=row.paused,
        note=row.note or "",
        vanished=row.vanished,
        next=_next(stand),
        last_completed=stand.last_completed,
        open=stand.open,
        queued=len(stand.queued),
    )


def _next(stand: Stand) -> int | None:
    """Return its next slot, None if it has none or its zone is unknown here: the data of another daemon is newer."""
    row = stand.row
    if row.paused:
        return None
    try:
        is_plain = not row.schedule.spec.jitter and not stand.queued and zone(row.schedule.spec.timezone)
        if is_plain and row.look_at is not None and row.look_at > row.now:
            return row.look_at  # which takes no walk through its calendar
        return next((slot for slot, _ in scheduling.next_slots(stand.look, 1)), None)
    except AikiError:
        return None
