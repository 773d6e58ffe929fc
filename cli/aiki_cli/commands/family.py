"""Own the look at a run's family: as much of it as a person reads, level by level, however large it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from aiki import State

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.client.matching import RunCount
    from aiki_cli.view.tree import Member

FAMILY_RUNS: Final = 20
"""Children of one run that are shown: the last that it has started. The others are counted."""
TREE_RUNS: Final = 200
"""When so many runs are shown, the children of no others are looked at."""
_AT_ONCE: Final = 10


async def read(client: Client, run: RunStatus) -> Member:
    """Return the run and its family."""
    from aiki_cli.view.tree import Member

    top = Member(run)
    level, shown = [top], 1
    while level:
        below: list[Member] = []
        for start in range(0, len(level), _AT_ONCE):
            if shown + len(below) >= TREE_RUNS:
                return top
            some = [member for member in level[start : start + _AT_ONCE] if member.run.children and member.is_own]
            await asyncio.gather(*(_look(client, member) for member in some))
            below += [child for member in some for child in member.family or ()]
        shown += len(below)
        level = below
    return top


async def _look(client: Client, member: Member) -> None:
    """Find the children of a run."""
    from aiki_cli.view.tree import Member

    run_id = member.run.run_id
    last = await client.runs.list(parent=run_id, limit=FAMILY_RUNS)
    member.family = [Member(run, is_own=run.parent_id == run_id) for run in reversed(last.runs)]
    if last.cursor is not None:
        member.earlier = await _earlier(client, run_id, last.runs)


async def _earlier(client: Client, run_id: str, last: Sequence[RunStatus]) -> Mapping[str, RunCount]:
    """Return how many children a run has beside its last ones, by state; of more than are counted only that."""
    from aiki.client.matching import RunCount

    if (every := await client.runs.count(parent=run_id)).capped:
        return {"in any state": every}
    counts = await asyncio.gather(*(client.runs.count(parent=run_id, states=[state]) for state in State))
    shown = Counter(run.state for run in last)
    beside = {str(state): RunCount(count.runs - shown[state]) for state, count in zip(State, counts, strict=True)}
    return {state: count for state, count in beside.items() if count.runs > 0}
