"""Own the check of families: every child accounted for, none twice, nobody left waiting, and each order paid once.

From the database's rows and the ledger alone. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiki.core.states import State

if TYPE_CHECKING:
    from tests.chaos.ledger import Effect
    from tests.chaos.promises import Evidence, RunRow

KIN: Final = """
SELECT c.parent_id::text, c.start_id::text, c.run_id::text, c.owned,
  (SELECT count(*) FROM aiki.inbox i WHERE i.run_id = c.parent_id AND i.kind = 'child' AND i.name = c.start_id::text)
FROM aiki.children c JOIN aiki.runs p ON p.id = c.parent_id WHERE p.namespace = %s
"""


@dataclass(frozen=True)
class Kin:
    """A start of a child: the run that it stands for, and how often its parent has heard of an end."""

    parent_id: str
    start_id: str
    run_id: str
    owned: bool
    told: int


def violations(evidence: Evidence) -> Iterable[str]:
    """Return a line for each child that is missing, or more than there should be, or unheard of, and each double."""
    runs = {run.id: run for run in evidence.runs}
    yield from _unaccounted(runs, evidence.kin)
    for one in evidence.kin:
        if one.run_id not in runs:
            yield f"kin {one.parent_id}: its child {one.run_id} does not exist"
        elif runs[one.parent_id].state == State.COMPLETED and not one.told:
            yield f"kin {one.parent_id}: it has completed, and never heard of the end of {one.start_id}"
    yield from _charges(evidence.effects)
    yield from _again(evidence, runs)


def _unaccounted(runs: Mapping[str, RunRow], kin: Sequence[Kin]) -> Iterable[str]:
    owned: dict[str, set[str]] = defaultdict(set)
    for one in kin:
        if one.owned:
            owned[one.run_id].add(_origin(runs, one.parent_id))
    for run in runs.values():
        if run.parent_id is not None and owned[run.id] != {_origin(runs, run.parent_id)}:
            yield f"kin {run.id}: it is a child of {run.parent_id}, and was started by {sorted(owned[run.id])}"


def _origin(runs: Mapping[str, RunRow], run_id: str) -> str:
    return (runs[run_id].origin_id if run_id in runs else None) or run_id


def _charges(effects: Iterable[Effect]) -> Iterable[str]:
    keys: dict[str, set[str]] = defaultdict(set)
    for effect in effects:
        if effect.event == "charge":
            keys[effect.order].add(effect.key)
    for order, its in keys.items():
        if len(its) > 1:
            yield f"charge {order}: it was paid for under {len(its)} keys"


def _again(evidence: Evidence, runs: Mapping[str, RunRow]) -> Iterable[str]:
    """No retry starts what a run of its origin has done: what was done behind its cut would have refused it."""
    done: dict[tuple[str, str], int] = {}
    for row in evidence.journal:
        if row.ok and row.key.startswith("task:"):
            place = _origin(runs, row.run_id), row.key
            done[place] = min(row.committed, done.get(place, row.committed))
    for effect in evidence.effects:
        if effect.event == "start" and effect.at > done.get((_origin(runs, effect.run_id), effect.key), effect.at):
            yield f"P2 {effect.run_id}: {effect.key} began again after a run of its origin had done it"
