"""Decide what becomes of the keys of tasks that units ask for, end and give back, in the transaction that writes them.

The units come first: by that their runs are locked, and stand as the units leave them. Then the rows of keys are
locked, and judged as they stand since. Whoever comes may win a key that is free before those who wait for it have
heard: all of them ask again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from msgspec import Raw, structs

from aiki.core.states import State
from aiki.rules.recording import CONFLICT, DONE, FENCED
from aiki.rules.sharing import Asker, KeyRow, Owner, Verdict, in_foreign_scope, judge
from aiki.wire.messages import KeyAnswer, KeyAsk, Recorded, Unit
from aikid.engine.changes import Changes
from aikid.engine.turns import in_turns
from aikid.store import task_keys as store
from aikid.store.pool import Connection
from aikid.store.record import Wrote
from aikid.store.task_keys import Found, KeyId, Place, Settling

_TAKEN: Final = KeyAnswer("taken")
_NOBODYS: Final = Found(None, None, left_lives=False, size=0)
_VALUES_SHARE: Final = 4
"""What part of a message results may take that keys have come to; the first goes along in any case."""


class Withheld(Exception):
    """Some units are not to be written for what they want of keys; all that was written with them is undone."""

    def __init__(self, said: Mapping[str, Recorded]) -> None:
        super().__init__()
        self.said = said
        """What is said of them, by their runs' ids."""


async def askers(connection: Connection, units: Sequence[Unit]) -> dict[int, Asker]:
    """Return by the places of those units that want something of keys who asks, before their claims may have ended.

    Raises Withheld for those that want keys of another workflow.
    """
    places = [place for place, unit in enumerate(units) if unit.keys]
    found = await store.askers(connection, [units[place] for place in places])
    foreign = {
        units[places[n]].fence.run_id: said
        for n, (_, workflow) in found.items()
        if (said := in_foreign_scope(units[places[n]], workflow)) is not None
    }
    if foreign:
        raise Withheld(foreign)
    return {places[n]: asker for n, (asker, _) in found.items()}


async def carry_out(
    connection: Connection,
    namespaces: Sequence[str],
    units: Sequence[Unit],
    askers: Mapping[int, Asker],
    wrote: Wrote,
    *,
    room: int,
) -> tuple[Wrote, Changes]:
    """Do what those units want of keys that were written; return what is said of all then, and what that changed.

    Raises Withheld for those that end or leave what is not theirs.
    """
    # Whoever sends a unit before its claim is committed has guessed its fence.
    if guessed := [place for place in wrote.done if units[place].keys and place not in askers]:
        raise Withheld({units[place].fence.run_id: FENCED for place in guessed})
    wants = [
        _Want(place, n, KeyId(namespaces[place], ask.scope, ask.task, ask.key), ask, askers[place])
        for place in sorted(wrote.done)
        for n, ask in enumerate(units[place].keys)
    ]
    # What is given counts for who asks: so fewer wait.
    wants.sort(key=lambda want: want.ask.want == "own")
    judging = await _begin(connection, wants, wrote.now)
    results = {place: _results(units[place]) for place in askers}
    async for want in in_turns(wants):
        judging.judge(want, results[want.place].get(want.ask.call, b""))
    if judging.foreign:
        raise Withheld(dict.fromkeys(judging.foreign, CONFLICT))
    changes = await _end(connection, judging, room)
    answers: dict[int, list[KeyAnswer]] = {place: [_TAKEN] * len(units[place].keys) for place in wrote.done}
    for want, answer in judging.answers:
        answers[want.place][want.n] = answer
    recorded = {
        place: structs.replace(wrote.recorded.get(place, DONE), keys=said) for place, said in answers.items() if said
    }
    return replace(wrote, recorded={**wrote.recorded, **recorded}), changes


def repeated(unit: Unit) -> tuple[Unit | None, list[KeyAnswer]]:
    """Return what is still to be asked by the repeat of a unit that was written, and what is said of all its asks.

    Whoever repeats an ask has not heard of what became of it; all else that it wanted was done with it.
    """
    asks = [ask for ask in unit.keys if ask.want == "own"]
    return Unit(unit.fence, 0, [], [], keys=asks) if asks else None, [_TAKEN] * len(unit.keys)


def merged(unit: Unit, again: Sequence[KeyAnswer]) -> list[KeyAnswer]:
    """Return what is said of all that a unit wants, if this is said of what it asks for."""
    rest = iter(again)
    return [next(rest) if ask.want == "own" else _TAKEN for ask in unit.keys]


@dataclass(frozen=True, slots=True)
class _Want:
    place: int
    """That of its unit."""
    n: int
    """Its place in that."""
    key: KeyId
    ask: KeyAsk
    asker: Asker


@dataclass(slots=True)
class _Judging:
    """The keys of a batch: how they stood, and how they stand after what was judged so far."""

    now: int
    stood: Mapping[KeyId, KeyRow]
    """What their rows are in the database."""
    stand: dict[KeyId, Found]
    places: Mapping[tuple[KeyId, str], tuple[int, int]]
    """Which askers waited for which keys: in which generation, and since when."""
    results: dict[KeyId, bytes] = field(default_factory=dict)
    """Of keys that are done now."""
    answers: list[tuple[_Want, KeyAnswer]] = field(default_factory=list)
    waits: list[Place] = field(default_factory=list)
    told: set[KeyId] = field(default_factory=set)
    """Keys that others may ask for again."""
    foreign: set[str] = field(default_factory=set)
    """Runs that gave what they did not have."""

    def judge(self, want: _Want, value: bytes) -> None:
        """Judge one of them, as keys stand after those before it; `value` is the result that it may bring."""
        key, ask, asker = want.key, want.ask, want.asker
        known = self.stand[key]
        verdict = judge(known.row, known.owner, ask, asker, left_lives=known.left_lives, now=self.now)
        if verdict.result == "foreign":
            self.foreign.add(asker.run_id)
            return
        has_won = verdict.result == "won"
        owner = Owner(asker.generation, asker.epoch, State.RUNNING) if has_won else known.owner
        self.stand[key] = Found(verdict.row, owner, known.left_lives or ask.want == "left", known.size)
        if ask.want == "done":
            self.results[key] = value
            self.stand[key] = replace(self.stand[key], size=len(value))
        if ask.want in ("done", "free") and verdict.row != known.row:
            self.told.add(key)
        if verdict.result == "waits":
            self.wait(want)
        self.answers.append((want, _answer(verdict)))

    def wait(self, want: _Want) -> None:
        """Have its run wait: from when on it has waited already, if that was in this generation."""
        run_id, generation = want.asker.run_id, want.asker.generation
        known, since = self.places.get((want.key, run_id), (generation, self.now))
        at = since if known == generation else self.now
        self.waits.append(Place(want.key, run_id, generation, want.ask.call, at))


async def _begin(connection: Connection, wants: Sequence[_Want], now: int) -> _Judging:
    first: dict[KeyId, KeyRow] = {}
    for want in wants:
        asker = want.asker
        row = KeyRow(asker.run_id, asker.generation, asker.epoch, want.ask.call, want.ask.digest, now)
        first.setdefault(want.key, row)
    locked = await store.lock(connection, first, [(want.key, want.asker.run_id) for want in wants])
    known = [key for key in first if key not in locked.made]
    found = await store.read(connection, known) if known else {}
    stood = {key: first[key] for key in locked.made} | {key: one.row for key, one in found.items() if one.row}
    return _Judging(now, stood, dict.fromkeys(first, _NOBODYS) | found, locked.places)


async def _end(connection: Connection, judging: _Judging, room: int) -> Changes:
    """Write what was judged, and put results into answers as far as they fit; what does not is to be asked again."""
    changes = Changes()
    changes.keys += await _put_values(connection, judging, room // _VALUES_SHARE)
    rows = {key: one.row for key, one in judging.stand.items()}
    put = {
        key: (row, judging.results.get(key))
        for key, row in rows.items()
        if row is not None and row != judging.stood.get(key)
    }
    gone = [key for key, row in rows.items() if row is None and key in judging.stood]
    if put or gone or judging.waits:
        changes.keys += await store.settle(connection, Settling(put, gone, judging.waits, sorted(judging.told)))
    changes.waits_for_keys = bool(judging.waits)
    return changes


async def _put_values(connection: Connection, judging: _Judging, room: int) -> list[KeyId]:
    """Put results into the answers that are of such; return the keys of those that are to be asked again."""
    fit: list[tuple[int, _Want]] = []
    late = []
    for n, (want, answer) in enumerate(judging.answers):
        if answer.result != "settled":
            continue
        size = judging.stand[want.key].size
        if not fit or size <= room:
            fit.append((n, want))
            room -= size
        else:
            judging.wait(want)
            judging.answers[n] = want, KeyAnswer("waits", answer.holder)
            late.append(want.key)
    stored = {want.key for _, want in fit} - set(judging.results)
    values = await store.values(connection, sorted(stored)) if stored else {}
    for n, want in fit:
        value = judging.results.get(want.key) or values[want.key]
        judging.answers[n] = want, structs.replace(judging.answers[n][1], value=Raw(value))
    return late


def _answer(verdict: Verdict) -> KeyAnswer:
    assert verdict.result != "foreign", "of what is not written nothing is answered"
    since = verdict.row.at if verdict.row is not None and verdict.result in ("won", "waits") else 0
    return KeyAnswer(verdict.result, verdict.holder, since=since)


def _results(unit: Unit) -> dict[str, bytes]:
    """Return by their calls the results that a unit brings."""
    return {entry.key: bytes(entry.value) for entry in unit.entries if entry.ok}
