"""Carry out what is declared and ordered of schedules: one, all of a project, or some by name, each in one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Literal

from aiki.core.errors import AikiError, Conflict, UsageError
from aiki.core.failpoints import failpoint
from aiki.rules import declaring
from aiki.rules.declaring import Known
from aiki.wire.messages import (
    ApplyReply,
    ApplySchedules,
    NewSchedule,
    OrderSchedules,
    PutReply,
    PutSchedule,
    ScheduleChange,
    ScheduleOrdered,
    ScheduleOrderReply,
)
from aikid.engine import standing
from aikid.engine.changes import Changes, Done
from aikid.engine.declaring import Changing
from aikid.engine.routes import Routes
from aikid.engine.schedule_reads import infos
from aikid.engine.turns import in_turns
from aikid.store import prepared, schedules
from aikid.store.pool import Connection, Pool
from aikid.store.schedules import Row

_ORDERED: Final = 20
"""Schedules in one commit: who goes on walks over all that it has missed."""
_RESULTS: Final[Mapping[str, Literal["created", "updated", "unchanged", "exists"]]] = {
    "create": "created",
    "update": "updated",
    "unchanged": "unchanged",
    "refused": "exists",
}


async def put(
    pool: Pool, routes: Routes, namespace: str, request: PutSchedule, *, room: int
) -> Done[PutReply | AikiError]:
    """Create a schedule, or change it. Raises Unavailable."""
    new = request.schedule

    async def work(connection: Connection) -> Done[PutReply | AikiError]:
        async with prepared.transaction(connection):
            rows = await schedules.lock(connection, namespace, [new.name])
            old = _known(rows[new.name]) if new.name in rows else None
            change = declaring.put(old, new, update=request.update)
            changing = Changing(connection, namespace, await schedules.now(connection), rows)
            await changing.carry_out([change], {new.name: new})
            reply = await _reply(connection, namespace, change)
            failpoint("schedule.before_commit")
            return Done([reply], changing.changes)

    try:
        await _check(routes, namespace, [new], room)
        return await pool.run(work)
    except (Conflict, UsageError) as error:
        return Done([error])


async def apply(
    pool: Pool, routes: Routes, namespace: str, request: ApplySchedules, *, room: int
) -> Done[ApplyReply | AikiError]:
    """Have a project's schedules be just these, or say what that would do. Raises Unavailable."""
    wanted = {one.name: one for one in request.schedules}

    async def work(connection: Connection) -> Done[ApplyReply | AikiError]:
        async with prepared.transaction(connection):
            rows = await schedules.lock_owned(connection, namespace, list(wanted), request.project)
            plan = declaring.plan({name: _known(row) for name, row in rows.items()}, request)
            changing = Changing(connection, namespace, await schedules.now(connection), rows)
            is_done = not request.dry_run and all(change.action != "refused" for change in plan)
            if is_done:
                await changing.carry_out(plan, wanted)
            failpoint("schedule.before_commit")
            return Done([ApplyReply(plan, is_done)], changing.changes)

    try:
        await _check(routes, namespace, request.schedules, room)
        return await pool.run(work)
    except (Conflict, UsageError) as error:
        return Done([error])


async def order(pool: Pool, namespace: str, request: OrderSchedules) -> Done[ScheduleOrderReply]:
    """Hold schedules, let them go on, or delete them, a few in a commit. Raises Unavailable."""
    names = list(dict.fromkeys(request.names))
    # A delete is cheap and goes as one: if some were gone when it fails, its repeat would not know them.
    size = len(names) if request.order == "delete" else _ORDERED
    found: set[str] = set()
    changes = Changes()
    for place in range(0, len(names), size):
        some = names[place : place + size]
        known, changed = await pool.run(partial(_order, namespace=namespace, request=request, names=some))
        found |= known
        changes.add(changed)
    outcomes = [ScheduleOrdered("done" if name in found else "unknown") for name in request.names]
    return Done([ScheduleOrderReply(outcomes)], changes)


async def _order(
    connection: Connection, *, namespace: str, request: OrderSchedules, names: Sequence[str]
) -> tuple[set[str], Changes]:
    """Carry out the order for these; return which of them there are."""
    async with prepared.transaction(connection):
        rows = await schedules.lock(connection, namespace, names)
        changing = Changing(connection, namespace, await schedules.now(connection), rows)
        match request.order:
            case "pause":
                await changing.pause(list(rows), note=request.note)
            case "resume":
                await changing.resume(list(rows))
            case "delete":
                await changing.delete(list(rows))
        failpoint("schedule.before_commit")
        return set(rows), changing.changes


async def _check(routes: Routes, namespace: str, declared: Sequence[NewSchedule], room: int) -> None:
    """Raise UsageError or PayloadError for what can never fire. Routes are known before anything fires there."""
    async for one in in_turns(declared):
        declaring.check_name(one.name)
        try:
            declaring.check_schedule(one, room=room)
        except AikiError as error:
            raise type(error)(f"schedule {one.name!r}: {error.message}", hint=error.hint) from error
    await routes.learn({(namespace, one.workflow, one.version) for one in declared})


async def _reply(connection: Connection, namespace: str, change: ScheduleChange) -> PutReply:
    row = await schedules.named(connection, namespace, change.name)
    if row is None:
        return PutReply("unknown", reason=change.reason)
    (info,) = await infos(connection, await standing.look(connection, [row]))
    return PutReply(_RESULTS[change.action], info, change.reason)


def _known(row: Row) -> Known:
    return Known(row.schedule, row.vanished)
