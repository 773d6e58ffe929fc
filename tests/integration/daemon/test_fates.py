"""Whether a slot is open Postgres says as the rule does: over random families of runs, their retries and children."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psycopg
import pytest

from aiki.core.states import TERMINAL, State
from aiki.rules.scheduling import is_open
from aiki.rules.standing import Standing
from aikid.store import slots
from tests.integration.daemon.engine import Engine
from tests.integration.daemon.standings import Case, put

pytestmark = pytest.mark.anyio

OVER, GOING = sorted(TERMINAL), sorted(set(State) - TERMINAL)
RETRIED = "UPDATE aiki.runs SET retried_by = %s WHERE id = %s"
CHILD = """
INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at)
VALUES (%s, gen_random_uuid(), %s, 0, %s, 'abandon', aiki.now())
"""


@dataclass(eq=False)
class Kin:
    """A run, the one that goes on in its place, and those that it has started; `found` it has met by their keys."""

    case: Case
    retry: Kin | None = None
    children: list[Kin] = field(default_factory=list)
    found: list[Kin] = field(default_factory=list)

    @property
    def newest(self) -> Kin:
        return self if self.retry is None else self.retry.newest

    def all(self) -> Iterator[Kin]:
        """Yield it and all that has come of it."""
        yield self
        for one in [*self.children, *([] if self.retry is None else [self.retry])]:
            yield from one.all()


def grown(draw: random.Random, depth: int = 0) -> Kin:
    """Return a random family, of which mostly nothing goes on."""
    state = draw.choice(GOING if draw.random() < 0.08 else OVER)
    made = Kin(Case(Standing(state, 1, "claim-1")))
    if depth < 3:
        made.children = [grown(draw, depth + 1) for _ in range(draw.choice([0, 0, 1, 2]))]
        if state in TERMINAL and draw.random() < 0.3:
            made.retry = grown(draw, depth + 1)
    if draw.random() < 0.2:
        made.found = [Kin(Case(Standing(State.RUNNING, 1, "claim-1")))]
    return made


async def keep(engine: Engine, kin: Sequence[Kin]) -> None:
    """Store all these runs, and what they are to each other."""
    await put(engine, [one.case for one in kin] + [other.case for one in kin for other in one.found])
    retries = [(one.retry.case.id, one.case.id) for one in kin if one.retry is not None]
    owned = [(one.case.id, child.case.id, True) for one in kin for child in one.children]
    met = [(one.case.id, other.case.id, False) for one in kin for other in one.found]
    async with await psycopg.AsyncConnection.connect(engine.database) as connection, connection.cursor() as cursor:
        await cursor.executemany(RETRIED, retries)
        await cursor.executemany(CHILD.encode(), owned + met)
        await cursor.execute(
            "UPDATE aiki.runs r SET children = c.n FROM"
            " (SELECT parent_id, count(*) AS n FROM aiki.children GROUP BY 1) AS c WHERE c.parent_id = r.id"
        )


async def test_a_slot_is_open_as_the_rule_says(engine: Engine) -> None:
    draw = random.Random(0)
    roots = [grown(draw) for _ in range(150)]
    everybody = [one for root in roots for one in root.all()]
    await keep(engine, everybody)
    await engine.execute("UPDATE aiki.runs SET origin_id = id")
    newest = [(root.case.id, root.newest.case.id) for root in roots if root.retry is not None]
    async with await psycopg.AsyncConnection.connect(engine.database) as connection, connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO aiki.origins (origin_id, run_id) VALUES (%s, %s)", newest)
    told = draw.sample([one.case.id for one in everybody], len(everybody) // 3)
    await engine.execute("UPDATE aiki.runs SET cancel_seq = 1 WHERE id = ANY(%s::uuid[])", told)
    fates = await engine.pool.run(lambda c: slots.fates(c, [root.case.id for root in roots]))
    seen = set()
    for root in roots:
        fate, states = fates[root.case.id], {one.case.id: one.case.standing.state for one in root.all()}
        assert fate.state is root.newest.case.standing.state
        assert bool(fate.open) == is_open(states.values())
        assert all(states[run_id] not in TERMINAL for run_id in fate.open)
        assert set(fate.untold) == set(fate.open) - set(told)
        seen.add((bool(fate.open), fate.state in TERMINAL, len(states) > 1))
    assert len(seen) >= 5
