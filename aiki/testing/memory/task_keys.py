"""Own idempotency keys of tasks that several runs may use: who has each, what it has come to, and who waits for it.

Who has a key is judged by `rules.sharing` whenever somebody wants to know; nothing that moves a run knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from aiki.core.moments import SECOND
from aiki.rules import arriving, sharing
from aiki.rules.sharing import ASKING, TURN_SECONDS, Asker, KeyRow, Owner, Stand, Verdict, judge
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import KeyId, Store, TaskKey, Waiter
from aiki.wire.messages import NULL, KeyAnswer, KeyAsk, Unit

_TURN: Final = round(TURN_SECONDS * SECOND)


def is_foreign(store: Store, run: Run, unit: Unit) -> bool:
    """Tell whether a unit gives what its run does not have."""
    asker = asker_of(run)
    return any(_judged(store, asker, ask).result == "foreign" for ask in _given(unit))


def asker_of(run: Run) -> Asker:
    """Return by which claim a run that somebody holds asks."""
    return Asker(run.id, run.generation, run.standing.epoch, run.session or "")


def carry_out(store: Store, asker: Asker, run: Run, unit: Unit) -> list[KeyAnswer]:
    """Do what a unit that holds wants of keys, first what it gives back; return what is said of each."""
    answers = {id(ask): _carry_out(store, asker, run, ask, unit) for ask in [*_given(unit), *_wanted(unit)]}
    return [answers[id(ask)] for ask in unit.keys]


def repeat(store: Store, run: Run, unit: Unit) -> list[KeyAnswer]:
    """Return what is said of the keys of a unit that was written before: who wants one may ask as often as it likes."""
    asker = asker_of(run)
    taken = KeyAnswer("taken")
    return [_carry_out(store, asker, run, ask, unit) if ask.want == "own" else taken for ask in unit.keys]


def stand_of(store: Store, row: KeyRow | None) -> Stand:
    """Return how a key stands now."""
    return sharing.stand(row, _owner(store, row), left_lives=_left_lives(store, row), now=store.now())


def has_to_tell(store: Store) -> bool:
    """Tell whether somebody who waits for a key is to be told of it."""
    return any(True for _ in _to_tell(store))


def tell(store: Store) -> None:
    """Tell who waits for a key that is done; and of those that wait for one that is free the first that may ask."""
    for key, waiter in [*_to_tell(store)]:
        waiter.told_at = store.now()
        waiter.run.inbox.add("key", waiter.call, clock=store.now())
        store.reach(waiter.run, [arriving.KEY])
        assert waiter.run.id in key.waiters, "who is told has waited"


def look_at(store: Store) -> int | None:
    """Return when the next one is to be told of a key whose turn it is not to wait for any longer; None if never."""
    ends = [
        waiter.told_at + _TURN
        for key in store.task_keys.values()
        if stand_of(store, key.row) == "free" and any(one.told_at is None for one in key.waiters.values())
        for waiter in key.waiters.values()
        if waiter.told_at is not None and waiter.told_at + _TURN > store.now()
    ]
    return min(ends, default=None)


# -- private


def _given(unit: Unit) -> list[KeyAsk]:
    return [ask for ask in unit.keys if ask.want != "own"]


def _wanted(unit: Unit) -> list[KeyAsk]:
    return [ask for ask in unit.keys if ask.want == "own"]


def _find(store: Store, ask: KeyAsk) -> TaskKey:
    return store.task_keys.setdefault(KeyId(ask.scope, ask.task, ask.key), TaskKey())


def _owner(store: Store, row: KeyRow | None) -> Owner | None:
    run = None if row is None else store.runs.get(row.run_id)
    if run is None:
        return None
    standing = run.standing
    return Owner(standing.generation, None if standing.claim_id is None else standing.epoch, standing.state)


def _left_lives(store: Store, row: KeyRow | None) -> bool:
    session = None if row is None or row.session_id is None else store.sessions.get(row.session_id)
    return session is not None and session.is_alive


def _judged(store: Store, asker: Asker, ask: KeyAsk) -> Verdict:
    row = _find(store, ask).row
    return judge(row, _owner(store, row), ask, asker, left_lives=_left_lives(store, row), now=store.now())


def _carry_out(store: Store, asker: Asker, run: Run, ask: KeyAsk, unit: Unit) -> KeyAnswer:
    key, verdict = _find(store, ask), _judged(store, asker, ask)
    assert verdict.result != "foreign", "a unit that gives what its run does not have does not hold"
    key.row = verdict.row
    if ask.want == "done":
        key.value = next(entry.value for entry in unit.entries if entry.key == ask.call)
    if verdict.result == "waits":
        waiter = key.waiters.setdefault(run.id, Waiter(run, asker.generation, ask.call))
        waiter.generation, waiter.call, waiter.told_at = asker.generation, ask.call, None
    else:
        key.waiters.pop(run.id, None)
    since = key.row.at if key.row is not None and verdict.result in ("won", "waits") else 0
    return KeyAnswer(verdict.result, verdict.holder, key.value if verdict.result == "settled" else NULL, since)


def _to_tell(store: Store) -> Iterator[tuple[TaskKey, Waiter]]:
    for key in store.task_keys.values():
        key.waiters = {id: one for id, one in key.waiters.items() if _waits(one)}
        how = stand_of(store, key.row) if key.waiters else "held"
        if how == "done":
            yield from ((key, one) for one in key.waiters.values() if one.told_at is None)
        elif how == "free" and (first := _next(store, [*key.waiters.values()])) is not None:
            yield key, first


def _next(store: Store, waiters: Sequence[Waiter]) -> Waiter | None:
    """Return who is to be told next of a key that is free; None if somebody has a turn, or nobody may ask."""
    asking = [one for one in waiters if one.run.state in ASKING]
    if any(one.told_at is not None and one.told_at + _TURN > store.now() for one in asking):
        return None
    return next((one for one in asking if one.told_at is None), None)


def _waits(waiter: Waiter) -> bool:
    """Tell whether a call may still wait: its run goes on in the generation in which it has asked."""
    return not waiter.run.is_over and waiter.run.generation == waiter.generation
