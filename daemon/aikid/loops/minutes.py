"""Own the writing of what this daemon has done in each minute, every few seconds and at its end.

A part that was not written is written again as it was, whatever has become of it: Postgres takes it once. What a daemon
has counted that is killed is lost; that is no more than a few seconds of a statistic.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final

from aiki.core.errors import Unavailable
from aikid.store import minutes
from aikid.store.minutes import Cell
from aikid.store.pool import Pool
from aikid.tell.tally import Tally

log = logging.getLogger("aikid.loops")

_CELLS: Final = 1_000
"""Rows of one statement."""
_PARTS: Final = 64
"""So many parts are kept that could not be written; older ones are let go."""
_LAST_SECONDS: Final = 1.0
"""How long the end of a daemon waits for its last part: less than the worth of a statistic."""


class Minutes:
    """Writes the tally."""

    every_seconds = 4.0
    suffers = "what was done in the last minutes is not counted"

    def __init__(self, pool: Pool, tally: Tally) -> None:
        self._pool = pool
        self._tally = tally
        self._writer = str(uuid.uuid4())
        self._part = 0
        self._writing: deque[tuple[int, Sequence[Cell]]] = deque(maxlen=_PARTS)
        self.alarm = tally.alarm

    async def run_once(self) -> None:
        """Write what was counted. Raises Unavailable: the same is written next time."""
        cells = self._tally.take()
        for start in range(0, len(cells), _CELLS):
            self._part += 1
            self._writing.append((self._part, cells[start : start + _CELLS]))
        while self._writing:
            await self._write(*self._writing[0])
            self._writing.popleft()

    async def finish(self) -> None:
        """Write what was done to the last, of which nobody else knows; if that does not go, it is lost."""
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self.run_once()
        except (Unavailable, TimeoutError) as error:
            log.debug("the last part was not written: %s", error)
        except Exception:
            log.exception("the last part was not written: a bug")

    async def _write(self, part: int, cells: Sequence[Cell]) -> None:
        try:
            await self._pool.run(lambda connection: minutes.write(connection, self._writer, part, cells))
        except Unavailable:
            raise
        except Exception:
            self._writing.popleft()  # it will never go: the next one may
            raise
