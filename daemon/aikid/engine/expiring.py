"""Walk through ended runs whose time is over, and delete them, a batch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiki.core.failpoints import failpoint
from aiki.core.retention import ENDS, FOR_EVER, NOTHING, Periods, joined
from aiki.core.states import State
from aikid.store import deleting, prepared, retention
from aikid.store.pool import Connection, Pool
from aikid.store.retention import RouteKey, Said, Stretch

_ROWS: Final = 5_000
"""Of journals, stories and families that one commit deletes, unless one run has more."""
_BEFORE_ALL: Final[RouteKey] = ("", "", "")
DEFAULT_KEY_SECONDS: Final = 30 * 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Terms:
    """How long this daemon keeps what nobody else says anything of: ended runs, and keys of runs that are gone."""

    periods: Periods = NOTHING
    key_seconds: int = DEFAULT_KEY_SECONDS


NO_TERMS: Final = Terms()
"""Those of a daemon that is told nothing."""


def in_force(said: Said, terms: Terms) -> Periods:
    """Return how long ended runs of a route are kept: who names it comes before its code, and both before the rest."""
    return joined((said.named, said.declared, said.of_all, terms.periods))


async def told(pool: Pool, routes: Sequence[tuple[str, str, str]], terms: Terms) -> dict[RouteKey, Periods]:
    """Return how long ended runs of routes are kept. Raises Unavailable."""
    found = await pool.run(lambda connection: retention.of_routes(connection, routes)) if routes else []
    return {one.route: in_force(one, terms) for one in found}


class Expiry:
    """The way through all routes and their ended runs, which begins anew when its end is reached."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._after: RouteKey | None = _BEFORE_ALL
        self._stretches: deque[Stretch] = deque()
        self._found: deque[tuple[str, int]] = deque()

    @property
    def is_over(self) -> bool:
        """Whether the last step has reached the end."""
        return self._after == _BEFORE_ALL and not self._stretches and not self._found

    @property
    def has_found(self) -> bool:
        """Whether there are runs that the next step deletes."""
        return bool(self._found)

    async def step(self, pool: Pool) -> int:
        """Take the next step, which is short; return how many runs it has deleted. Raises Unavailable."""
        if self._found:
            return await self._delete(pool)
        if self._stretches:
            await self._look(pool)
        else:
            await self._turn_page(pool)
        return 0

    async def _delete(self, pool: Pool) -> int:
        some = self._next()

        async def work(connection: Connection) -> int:
            async with prepared.transaction(connection):
                done = await deleting.delete_runs(connection, some, key_seconds=self._terms.key_seconds)
                failpoint("expiry.before_commit")
                return len(done.gone)

        return await pool.run(work)

    def _next(self) -> list[str]:
        """Take so many of those that were found as make a short statement; who stays is found by the next walk."""
        some: list[str] = []
        rows = 0
        while self._found and len(some) < deleting.BATCH and (not some or rows + self._found[0][1] <= _ROWS):
            run_id, weight = self._found.popleft()
            some.append(run_id)
            rows += weight
        return some

    async def _look(self, pool: Pool) -> None:
        stretch = self._stretches[0]
        found, end = await pool.run(lambda connection: retention.look(connection, stretch))
        self._found.extend(found)
        self._stretches.popleft()
        if end is not None:
            self._stretches.appendleft(replace(stretch, after=end))

    async def _turn_page(self, pool: Pool) -> None:
        after = self._after or _BEFORE_ALL
        page = await pool.run(lambda connection: retention.said(connection, after))
        wanted = [stretch for said in page for stretch in _stretches(said, self._terms)]
        if wanted:
            self._stretches.extend(await pool.run(lambda connection: retention.having_any(connection, wanted)))
        self._after = page[-1].route if len(page) == retention.ROUTES else _BEFORE_ALL


def _stretches(said: Said, terms: Terms) -> list[Stretch]:
    periods = in_force(said, terms)
    return [
        Stretch(said.route, State(name), period)
        for name in ENDS
        if (period := periods.of(State(name))) is not None and period != FOR_EVER
    ]
