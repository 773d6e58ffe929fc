"""Have runs go on by their own rule whose bodies have failed, in the commit that ends their claims by that.

What such a claim says is recorded first, and its run is locked by that. Then it is looked at what a retry would do once
more; if it may not, all is undone, and the run fails. So no statement of the hot path knows of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiki.core.keys import is_task
from aiki.rules import again, retrying
from aiki.rules.retrying import Past
from aiki.wire.messages import CancelNote, Unit
from aikid.engine.changes import Changes
from aikid.engine.control import note_cancelled
from aikid.engine.retries import renew_below
from aikid.engine.successions import pasts_of
from aikid.store import cancels, own_retries, pasts, retries
from aikid.store.own_retries import GoesOn
from aikid.store.pasts import Row
from aikid.store.pool import BadData, Connection
from aikid.store.record import Wrote

_BY_PARENT: Final = CancelNote(reason="parent")


class Refused(Exception):
    """Some runs are not tried again; all that was written with that is to be undone."""

    def __init__(self, whys: Mapping[str, str]) -> None:
        super().__init__()
        self.whys = whys
        """Why not, by their ids."""


def given_up(unit: Unit, whys: Mapping[str, str]) -> Unit:
    """Return the unit as it is to be written if its run is one of those that are not tried again."""
    why = whys.get(unit.fence.run_id)
    return unit if why is None else again.given_up(unit, why)


async def go_on(connection: Connection, units: Sequence[Unit], wrote: Wrote) -> Changes:
    """Have the runs go on that are to be tried again, of those whose units have just been written.

    Return what that changed. Raises Refused for those that may not.
    """
    again_by_id = {
        unit.fence.run_id: unit
        for place, unit in enumerate(units)
        if wrote.done.get(place) is not None and again.is_again(unit)
    }
    changes = Changes()
    if not again_by_id:
        return changes
    rows = await pasts.rows(connection, list(again_by_id))
    _refuse({run_id: again.IS_TO_END for run_id, row in rows.items() if row.is_cancelled})
    anew = [run_id for run_id, unit in again_by_id.items() if again.retried_of(unit) is None]
    if anew:
        changes.errands += await own_retries.begin_anew(connection, anew)
    going_on = [rows[run_id] for run_id in again_by_id if run_id not in anew]
    if going_on:
        await _go_on(connection, going_on, again_by_id, changes)
    return changes


async def _go_on(connection: Connection, rows: Sequence[Row], units: Mapping[str, Unit], changes: Changes) -> None:
    """Have runs go on from where they failed, each with the children that it waits for."""
    found = await pasts_of(connection, rows, but_last=True)
    cuts = {row.id: _cut(row, units[row.id]) for row in rows}
    _refuse({past.id: why for past in found if (why := again.refusal(past, cuts[past.id])) is not None})
    made = []
    for row, past in zip(rows, found, strict=True):
        at = cuts[past.id]
        starts = await _renew_children(connection, row, past, at, changes)
        tasks = sum(is_task(entry.key) for entry in past.history.entries[:at])
        made.append(GoesOn(past.id, past.length + 1, tasks, retrying.kept(past, at), starts))
    await own_retries.go_on(connection, made)
    for row, past in zip(rows, found, strict=True):
        await _tell_children(connection, row, past, cuts[past.id], changes)


async def _renew_children(
    connection: Connection, row: Row, past: Past, at: int, changes: Changes
) -> list[tuple[str, str]]:
    """Retry the children of a run that have failed; return by which runs those that it waits for go on."""
    failed = [one.run_id for one in again.to_renew(past, at)]
    news: dict[str, str] = {}
    if failed:
        made, news = await renew_below(connection, (row.id, row.generation), failed)
        if why := made.outcome.words():
            raise Refused({row.id: why})
        made.note(changes, row.namespace)
    return [(one.start_id, news.get(one.run_id, one.run_id)) for one in retrying.awaited(past, at)]


async def _tell_children(connection: Connection, row: Row, past: Past, at: int, changes: Changes) -> None:
    """Have a run hear once more of the other children that it waits for, and cancel those that it knows no more."""
    others = again.to_attach(past, at)
    if others:
        await pasts.lock(connection, [(one.run_id, one.state, one.is_cancelled) for one in others])
        changes.errands += await retries.attach(connection, [(row.id, one.start_id, one.run_id) for one in others])
    if behind := again.to_cancel(past, at):
        cancelled = await cancels.cancel(connection, row.namespace, behind, _BY_PARENT, force=False)
        note_cancelled(changes, row.namespace, cancelled)


def _cut(row: Row, unit: Unit) -> int:
    """Return how many entries stay. Raises BadData if that is not of the run's next attempt."""
    retried = again.retried_of(unit)
    assert retried is not None, "a run that begins anew cuts nowhere"
    if retried.attempt != row.attempt + 1:
        raise BadData(f"its next attempt is {row.attempt + 1}, not {retried.attempt}")
    return retried.cut


def _refuse(whys: Mapping[str, str]) -> None:
    if whys:
        raise Refused(whys)
