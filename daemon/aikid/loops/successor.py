"""Own the end of a daemon whose database a newer one has migrated: what it would write there is no longer right."""

from __future__ import annotations

from aikid.store.migrate import check_again
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm


class Successor:
    """Looks for a schema that only a newer daemon can have made."""

    every_seconds = 1.0
    suffers = "a newer schema goes unnoticed"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.alarm = Alarm()

    async def run_once(self) -> None:
        """Return if there is none. Raises ConfigError, which ends the daemon, and Unavailable."""
        await self._pool.run(check_again)
