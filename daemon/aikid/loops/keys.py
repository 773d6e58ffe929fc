"""Own when those are told who wait for keys of tasks: when this daemon frees one, and each second while some wait.

A key is freed by whatever makes its owner's run stand otherwise, and by nothing else: so it is looked for. While nobody
waits, a look a minute finds out whether somebody does that another daemon knew of, and died.
"""

from __future__ import annotations

from aikid.engine import key_lines
from aikid.store.key_lines import BEGINNING
from aikid.store.pool import Pool
from aikid.tell.lines import SOON_SECONDS, Lines
from aikid.tell.teller import Teller


class Keys:
    """Tells runs that they may ask for a key again."""

    suffers = "runs that wait for keys of tasks are not told"

    def __init__(self, pool: Pool, teller: Teller, lines: Lines) -> None:
        self._pool = pool
        self._teller = teller
        self._lines = lines
        self._after = BEGINNING
        self.alarm = lines.alarm

    @property
    def every_seconds(self) -> float:
        """How long it does not look, if nothing is heard of."""
        return self._lines.every_seconds

    async def run_once(self) -> None:
        """Tell of keys that are over, and look at others that are waited for. Raises Unavailable."""
        if keys := self._lines.take():
            try:
                async for changes in key_lines.tell_of(self._pool, keys):
                    await self._teller.tell_all(changes)
            except BaseException:
                self._lines.over(keys)
                raise
        found, then = self._after != BEGINNING, None
        async for looked in key_lines.walk(self._pool, self._after):
            await self._teller.tell_all(looked.changes)
            found, then = found or looked.count > 0, looked.then
            self._after = then or BEGINNING
        self._lines.looked(found=found)
        if then is not None:  # also if that is the beginning: more wait for the first keys than one look tells
            self.alarm.due_in(SOON_SECONDS)
