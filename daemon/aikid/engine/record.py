"""Record what claims have come to: all units of many workers in one commit, each all or none under its fence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from msgspec import structs

from aiki.core.errors import AikiError, Overloaded, PayloadError
from aiki.core.failpoints import failpoint
from aiki.core.states import State
from aiki.rules.again import is_again
from aiki.rules.checking import check_unit
from aiki.rules.families import check as check_family
from aiki.rules.recording import CONFLICT, DONE, is_folded, leaves_generation, repeated, told
from aiki.rules.sharing import check as check_keys
from aiki.wire.messages import Record, Recorded, RecordReply, Unit
from aikid.engine import own_retries, task_keys
from aikid.engine.arrivals import note
from aikid.engine.changes import Changes, Done, Ended, RunKey
from aikid.engine.families import Families, has_family, routes_of
from aikid.engine.leaves import NO_LEAVES, Leaves
from aikid.engine.routes import Routes
from aikid.store import folding, generations, prepared
from aikid.store import labels as labels_of_runs
from aikid.store import record as store
from aikid.store.pool import BadData, Connection, Pool
from aikid.store.record import EndedRow, Wrote

ROUNDS: Final = 4
"""Different units of one run in a batch. Workers have one in flight: there are two, a late repeat and the next one."""
_RETRY_SECONDS: Final = 0.2


async def record(
    pool: Pool,
    calls: Sequence[tuple[str, Record]],
    watched: Container[RunKey],
    *,
    room: int,
    routes: Routes,
    leaves: Leaves = NO_LEAVES,
) -> Done[RecordReply | AikiError]:
    """Write all units of calls (namespace and request) that hold, and say of each what became of it.

    What no message of `room` bytes could bring to a reader later is refused. Units of one run are written one after the
    other, equal ones once. What is beyond ROUNDS of them is not written, and its whole call is answered with
    Overloaded: it is to be repeated. Of an end of a run that is `watched` its tasks are counted. A child that a worker
    has leave for is claimed for it in the commit that starts it. Raises Unavailable.
    """
    units = [unit for _, request in calls for unit in request.units]
    namespaces = [namespace for namespace, request in calls for _ in request.units]
    batch = _Batch(pool, units, namespaces, watched, [_refusal(unit, room) for unit in units], leaves, room)
    outcomes = batch.outcomes
    rounds, repeats = _in_rounds(units, namespaces, [place for place, known in enumerate(outcomes) if known is None])
    for places in rounds:
        alone = [place for place in places if not has_family(units[place]) and not units[place].keys]
        if alone or not places:
            await batch.write(alone)
        if keyed := [place for place in places if units[place].keys and not has_family(units[place])]:
            await batch.write(keyed)
        if rest := [place for place in places if has_family(units[place])]:
            # Before the runs: a crash between the two must not leave queued runs on a route that no offerer knows.
            await routes.learn(routes_of([namespaces[place] for place in rest], [units[place] for place in rest]))
            await batch.write(rest)
    for place, first in repeats.items():
        outcomes[place] = outcomes[first]
    return Done(_replies(calls, outcomes, batch.now), batch.changes)


def _replies(
    calls: Sequence[tuple[str, Record]], outcomes: Sequence[Recorded | None], now: int
) -> list[RecordReply | AikiError]:
    replies: list[RecordReply | AikiError] = []
    place = 0
    for _, request in calls:
        size = len(request.units)
        written = [outcome for outcome in outcomes[place : place + size] if outcome is not None]
        if len(written) == size:
            replies.append(RecordReply(now, written))
        else:
            replies.append(Overloaded("a batch holds too many units of one run", retry_after=_RETRY_SECONDS))
        place += size
    return replies


def _in_rounds(
    units: Sequence[Unit], namespaces: Sequence[str], places: Sequence[int]
) -> tuple[list[list[int]], dict[int, int]]:
    """Return which places to write in each round, one unit of a run in each, and where a repeated unit stands first.

    There is always a first round, if only to read the clock.
    """
    rounds: list[list[int]] = [[]]
    repeats: dict[int, int] = {}
    of_run: dict[str, list[int]] = {}
    for place in places:
        unit, namespace = units[place], namespaces[place]
        earlier = of_run.setdefault(unit.fence.run_id, [])
        same = (other for other in earlier if units[other] == unit and namespaces[other] == namespace)
        if (first := next(same, None)) is not None:
            repeats[place] = first
        elif len(earlier) < ROUNDS:
            if len(earlier) == len(rounds):
                rounds.append([])
            rounds[len(earlier)].append(place)
            earlier.append(place)
    return rounds, repeats


@dataclass(slots=True)
class _Batch:
    pool: Pool
    units: list[Unit]
    namespaces: Sequence[str]
    watched: Container[RunKey]
    outcomes: list[Recorded | None]
    """In the order of the units; none for what was not written."""
    leaves: Leaves
    room: int
    changes: Changes = field(default_factory=Changes)
    beside: Changes = field(default_factory=Changes)
    """What the last statements changed beside their units: it counts when they are committed."""
    now: int = 0
    """The database's clock."""

    async def write(self, places: list[int]) -> None:
        """Write the units at `places`; halve a batch that Postgres refuses for its data until the bad one is alone."""
        try:
            wrote = await self.pool.run(lambda c: self._work(c, places))
        except own_retries.Refused as refused:
            for place in places:
                self.units[place] = own_retries.given_up(self.units[place], refused.whys)
            await self.write(places)
            return
        except task_keys.Withheld as withheld:
            for place in places:
                self.outcomes[place] = withheld.said.get(self.units[place].fence.run_id)
            await self.write([place for place in places if self.outcomes[place] is None])
            return
        except BadData as error:
            if len(places) == 1:
                self.outcomes[places[0]] = Recorded("refused", str(error))
                return
            half = len(places) // 2
            await self.write(places[:half])
            await self.write(places[half:])
            return
        if undone := self._take(places, wrote):
            await self.pool.run(lambda c: self._tell_apart(c, undone))
            for place in undone:
                if self.units[place].keys and (said := self.outcomes[place]) and said.result == "done":
                    await self._answer_again(place, said)

    def _take(self, places: Sequence[int], wrote: Wrote) -> list[int]:
        """Take in what was written; return the places of what was not, and of which nothing is known yet."""
        self.now = wrote.now
        undone = []
        for index, place in enumerate(places):
            if index not in wrote.done:
                if self.outcomes[place] is None:
                    undone.append(place)
                continue
            self.outcomes[place] = wrote.recorded.get(index, DONE)
            if (ended := wrote.done[index]) is not None:
                self._note(place, ended)
            else:
                self.changes.recorded[self.namespaces[place]].append(self.units[place].fence.run_id)
        note(self.changes, wrote.reached)
        self.changes.errands += wrote.errands
        self.changes.add(self.beside)
        return undone

    async def _work(self, connection: Connection, places: Sequence[int]) -> Wrote:
        failpoint("record.before_commit")
        if not places or not has_family(self.units[places[0]]):
            return await self._statement(connection, places)
        written = await Families(
            [self.namespaces[place] for place in places],
            [self.units[place] for place in places],
            self.leaves,
            self.room,
            lambda c, some: self._statement(c, [places[n] for n in some]),
        ).carry_out(connection)
        for n, refused in written.refused.items():
            self.outcomes[places[n]] = refused
        self.changes.add(written.changes)
        return written.wrote

    async def _statement(self, connection: Connection, places: Sequence[int]) -> Wrote:
        self.beside = Changes()
        units = [self.units[place] for place in places]
        namespaces = [self.namespaces[place] for place in places]
        counted = [
            unit.end is not None and (namespace, unit.fence.run_id) in self.watched
            for namespace, unit in zip(namespaces, units, strict=True)
        ]
        write = folding.fold if any(map(is_folded, units)) else store.record
        try:
            if not any(map(_takes_more, units)):
                return await write(connection, namespaces, units, counted)
            writing = partial(write, connection, namespaces, units, counted)
            return await self._take_more(connection, namespaces, units, writing)
        except ValueError as error:
            raise BadData(str(error)) from error

    async def _take_more(
        self,
        connection: Connection,
        namespaces: Sequence[str],
        units: Sequence[Unit],
        write: Callable[[], Awaitable[Wrote]],
    ) -> Wrote:
        """Write units of which some take more than one statement."""
        is_keyed = any(unit.keys for unit in units)
        async with prepared.transaction(connection):
            askers = await task_keys.askers(connection, units) if is_keyed else {}
            wrote = await write()
            await _label(connection, units, wrote)
            wrote = await _go_on(connection, units, wrote)
            self.beside = await own_retries.go_on(connection, units, wrote)
            if is_keyed:
                wrote, changes = await task_keys.carry_out(connection, namespaces, units, askers, wrote, room=self.room)
                self.beside.add(changes)
        return wrote

    async def _answer_again(self, place: int, said: Recorded) -> None:
        """Say once more what became of the keys that a unit wanted that was written before."""
        unit = self.units[place]
        asking, answers = task_keys.repeated(unit)
        if asking is None:
            self.outcomes[place] = structs.replace(said, keys=answers)
            return
        self.units[place], self.outcomes[place] = asking, None
        await self.write([place])
        again = self.outcomes[place]
        if again is not None and again.result == "done":
            self.outcomes[place] = structs.replace(said, keys=task_keys.merged(unit, again.keys))

    def _note(self, place: int, ended: EndedRow) -> None:
        unit, namespace, changes = self.units[place], self.namespaces[place], self.changes
        started_at, tasks, state, workflow, version, since = ended
        changes.ended[namespace].append(Ended(unit, self.now, started_at, tasks, state, workflow, version, since))
        if state is State.QUEUED and workflow is not None and version is not None:
            changes.queued[namespace, workflow, version] += 1
            if leaves_generation(unit):
                changes.woken[namespace, workflow, version] += 1
        if (end := unit.end) is not None and end.due_at is not None:
            changes.due_in((end.due_at - self.now) / 1e6)

    async def _tell_apart(self, connection: Connection, places: Sequence[int]) -> None:
        """Say of units that were not written whether they stand already, contradict what stands, or lost their run."""
        namespaces = [self.namespaces[place] for place in places]
        found = await store.standings(connection, namespaces, [self.units[place].fence.run_id for place in places])
        for place in places:
            unit = self.units[place]
            standing = found.get((self.namespaces[place], unit.fence.run_id))
            self.outcomes[place] = repeated(standing, unit)
        likely = [
            (place, told(self.units[place], outcome))
            for place in places
            if (outcome := self.outcomes[place]) is not None
            and outcome.result == "done"
            and not leaves_generation(self.units[place])
        ]
        standing_units = await store.standing_units(connection, [unit for _, unit in likely])
        for n, (place, _) in enumerate(likely):
            if n not in standing_units:
                self.outcomes[place] = CONFLICT


def _takes_more(unit: Unit) -> bool:
    """Tell whether it takes more than one statement to write the unit."""
    return bool(unit.keys) or unit.labels is not None or leaves_generation(unit) or is_again(unit)


async def _label(connection: Connection, units: Sequence[Unit], wrote: Wrote) -> None:
    """Give runs the labels that their units say, where these were written."""
    said = {units[place].fence.run_id: labels for place in wrote.done if (labels := units[place].labels) is not None}
    if said:
        await labels_of_runs.put(connection, said)


async def _go_on(connection: Connection, units: Sequence[Unit], wrote: Wrote) -> Wrote:
    """Let those go on in their next generation whose claims have just ended by that; return what was done to all."""
    ended = {place: row for place, row in wrote.done.items() if row is not None and leaves_generation(units[place])}
    versions = await generations.swap(connection, units, list(ended)) if ended else {}
    moved: dict[int, EndedRow | None] = {
        place: (started_at, tasks, state, workflow, workflow and versions[place], since)
        for place, (started_at, tasks, state, workflow, _, since) in ended.items()
    }
    return replace(wrote, done=wrote.done | moved)


def _refusal(unit: Unit, room: int) -> Recorded | None:
    try:
        check_unit(unit, room=room)
        if has_family(unit):
            check_family(unit, room=room)
        if unit.keys:
            check_keys(unit)
    except PayloadError as error:
        return Recorded("refused", error.message)
    return None
