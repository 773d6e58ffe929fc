"""Plan what becomes of a run and its family when it is retried: read level by level, judged, and nothing written yet.

Nobody writes to a run that has ended, so all this is read without a lock; whoever carries the plan out locks what it
changes, and compares.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from msgspec import DecodeError, MsgspecError

from aiki.core.ids import uuid7
from aiki.core.keys import is_task, name_of
from aiki.core.states import State
from aiki.rules import retrying
from aiki.rules.arriving import CHILD, OP
from aiki.rules.histories import read
from aiki.rules.retrying import Child, Past
from aiki.wire.codec import decoder
from aiki.wire.limits import FAMILY_ENTRIES, FAMILY_RUNS
from aiki.wire.messages import Entry, Failure, Redone, Retry
from aikid.store import pasts
from aikid.store.pasts import ChildRow, Row
from aikid.store.pool import Connection
from aikid.store.retries import Renewal

_READ_RUNS: Final = 500
Parent: TypeAlias = tuple[str, int]
"""A run and its generation."""


@dataclass(slots=True)
class Plan:
    """What becomes of a run and its family, level by level."""

    order: Retry
    rows: list[Row] = field(default_factory=list)
    """The runs that are retried, in the order of `renewals`."""
    renewals: list[Renewal] = field(default_factory=list)
    locks: list[tuple[str, State, bool]] = field(default_factory=list)
    """All that is changed, as it was read."""
    news: dict[str, str] = field(default_factory=dict)
    """The runs that go on in the place of those, by their ids."""

    async def make(
        self, connection: Connection, rows: Mapping[str, Row], level: Mapping[str, Parent | None]
    ) -> Redone | None:
        """Plan the retry of runs, each with its new parent; return why it is refused, if it is."""
        order, first = self.order, next(iter(rows.values()))
        while level:
            below: dict[str, Parent | None] = {}
            ids = list(level)
            for start in range(0, len(ids), _READ_RUNS):  # some at a time: a large family must not hold the loop
                some = [rows[run_id] for run_id in ids[start : start + _READ_RUNS]]
                if refused := await self._read(connection, some, order, level, below):
                    return refused
            entries = sum(one.length for one in self.renewals)
            if len(self.renewals) + len(below) > FAMILY_RUNS + 1 or entries > FAMILY_ENTRIES:
                return Redone("large", first.id, first.state)
            rows = await pasts.rows(connection, list(below)) if below else {}
            level, order = below, retrying.down(self.order)
        return None

    async def gather(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Plan the retry of those of the runs that are not refused, and with which no others are retried."""
        for start in range(0, len(rows), _READ_RUNS):
            some = rows[start : start + _READ_RUNS]
            with suppress(
                MsgspecError
            ):  # it is said of the one whose journal cannot be read when it is looked at alone
                for row, past in zip(some, await pasts_of(connection, some), strict=True):
                    is_alone = not retrying.family(past, self.order).retried
                    if is_alone and retrying.refusal(past, self.order) is None:
                        self._renew(row, past, self.order, None)

    async def _read(
        self,
        connection: Connection,
        rows: Sequence[Row],
        order: Retry,
        parents: Mapping[str, Parent | None],
        below: dict[str, Parent | None],
    ) -> Redone | None:
        """Plan the retry of some runs, and add those that are retried with them to `below`, each with its parent."""
        try:
            read = await pasts_of(connection, rows)
        except MsgspecError:  # whatever a worker has written there
            return Redone("unreadable", rows[0].id, rows[0].state)
        for row, past in zip(rows, read, strict=True):
            if refused := retrying.refusal(past, order):
                return refused
            below |= self._renew(row, past, order, parents[row.id])
        return None

    def _renew(self, row: Row, past: Past, order: Retry, parent: Parent | None) -> dict[str, Parent | None]:
        """Plan the retry of one run; return those that are retried with it, each with its parent."""
        family = retrying.family(past, order)
        new = self._new(row.id, row.now)
        renewed = {one.run_id for one in family.retried}
        starts = [
            (one.start_id, self._new(one.run_id, row.now) if one.run_id in renewed else one.run_id)
            for one in family.kept
        ]
        attached = [(one.start_id, one.run_id) for one in family.attached]
        self.rows.append(row)
        self.locks.append((row.id, row.state, row.is_cancelled))
        self.locks += [(one.run_id, one.state, one.is_cancelled) for one in family.attached]
        if order.start:
            made = Renewal(row.id, new, row.generation + 1, input=bytes(order.input) or None)
        else:
            made = _going_on(row, new, past, order)
        reason = f"a retry of run {row.id}{_from(order)}"
        self.renewals.append(dataclasses.replace(made, parent=parent, starts=starts, attached=attached, reason=reason))
        return dict.fromkeys(renewed, (new, made.generation))

    def _new(self, run_id: str, now: int) -> str:
        """Return the id of the run that goes on in the place of this one."""
        if run_id not in self.news:
            self.news[run_id] = str(uuid7(milliseconds=now // 1_000, random_bits=secrets.randbits(74)))
        return self.news[run_id]


def _going_on(row: Row, new: str, past: Past, order: Retry) -> Renewal:
    """Return the retry of a run that goes on with what this one has come to."""
    at = retrying.cut(past, order) or 0
    return Renewal(
        row.id,
        new,
        row.generation,
        entry=retrying.entry(past, order, run_id=new, now=row.now),
        length=past.length,
        tasks=sum(is_task(entry.key) for entry in past.history.entries[:at]),
        kept=retrying.kept(past, at),
        again=[key for key in past.once if name_of(key) in order.again],
    )


def _from(order: Retry) -> str:
    if order.task is not None:
        return f", from task {order.task}"
    if order.start:
        return ", from the start with another input" if order.input else ", from the start"
    return ""


async def pasts_of(connection: Connection, rows: Sequence[Row], *, but_last: bool = False) -> list[Past]:
    """Return what a retry needs to know of runs; with `but_last` as they were before their last entry."""
    ids = [row.id for row in rows]
    journals = await pasts.journals(connection, ids)
    once = await pasts.once(connection, ids)
    children = await pasts.children(connection, ids)
    told = await pasts.told(connection, list(children)) if children else {}
    if but_last:
        journals = {run_id: journal[:-1] for run_id, journal in journals.items()}
    return [_past(row, journals[row.id], once, children.get(row.id, ()), told.get(row.id, {})) for row in rows]


def _past(
    row: Row,
    journal: Sequence[Entry],
    once: Mapping[str, set[str]],
    children: Sequence[ChildRow],
    told: Mapping[str, Mapping[str, int]],
) -> Past:
    history = read(journal)
    asked = retrying.asked(journal, history, told.get(OP, {}))
    ends = told.get(CHILD, {})
    return Past(
        row.id,
        row.state,
        row.attempt,
        history,
        len(journal),
        row.began_at,
        _failed_place(row.error),
        [
            Child(one.start_id, one.run_id, one.state, place, one.is_owned, one.is_cancelled, ends.get(one.start_id))
            for one in children
            if (place := asked.get(one.start_id, 0)) is not None
        ],
        frozenset(once.get(row.id, ())),
        row.is_closing,
    )


def _failed_place(error: bytes | None) -> int | None:
    """Return the place of the entry that has failed a run, if its error says so."""
    if error is None:
        return None
    try:
        failure: Failure = decoder(Failure).decode(error)
    except DecodeError:  # whatever a client has written there
        return None
    return failure.cut
