"""Decide what becomes of children that units cancel, and do it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from aiki.rules.families import stopped
from aiki.wire.messages import CancelNote, StopOp, Unit
from aikid.engine.changes import Changes
from aikid.engine.control import note_cancelled
from aikid.store import cancels, families
from aikid.store.answers import Answer
from aikid.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Stop:
    """A run that another cancels, and the word for it."""

    namespace: str
    parent_id: str
    op: StopOp

    @property
    def start(self) -> tuple[str, str]:
        """Who cancels, and the start that it means."""
        return self.parent_id, self.op.run_id


def stops_of(units: Mapping[int, Unit], namespaces: Sequence[str], *, but: Container[str]) -> list[Stop]:
    """Return what units, by place, cancel, but for what has been done."""
    return [
        Stop(namespaces[place], unit.fence.run_id, op)
        for place, unit in units.items()
        for op in unit.stops
        if op.id not in but
    ]


async def look(connection: Connection, stops: Sequence[Stop]) -> tuple[list[Answer], list[tuple[Stop, str]]]:
    """Return what is to become of the cancels, and the runs that they mean and that can be told.

    Nothing is done yet: the sends of the same units go before.
    """
    known = await families.known(connection, [stop.start for stop in stops])
    answers: list[Answer] = []
    able: list[tuple[Stop, str]] = []
    for stop in stops:
        child = known.get(stop.start)
        outcome = stopped(None if child is None else child.state, is_owned=child is not None and child.is_owned)
        answers.append(Answer(stop.parent_id, stop.op.id, outcome))
        if child is not None and outcome.result == "taken":
            able.append((stop, child.run_id))
    return answers, able


async def cancel(connection: Connection, stops: Sequence[tuple[Stop, str]]) -> Changes:
    """Cancel the runs; return what that changed."""
    changes = Changes()
    groups: dict[tuple[str, str, str | None], list[str]] = {}
    for stop, run_id in stops:
        groups.setdefault((stop.namespace, stop.parent_id, stop.op.reason), []).append(run_id)
    for (namespace, parent_id, reason), run_ids in groups.items():
        note = CancelNote(why=reason, actor=f"run {parent_id}")
        note_cancelled(changes, namespace, await cancels.cancel(connection, namespace, run_ids, note, force=False))
    return changes
