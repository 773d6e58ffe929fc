"""Walk through what may be pruned, batch by batch."""

from __future__ import annotations

from aikid.store import pruning
from aikid.store.key_pruning import KeyKind
from aikid.store.pool import Pool
from aikid.store.pruning import Kind


class Walk:
    """The way through the rows of one kind, which begins anew when its end is reached."""

    def __init__(self, kind: Kind | KeyKind) -> None:
        self._kind = kind
        self._after = kind.beginning
        self.is_over = False
        """Whether the last step has reached the end."""

    async def step(self, pool: Pool) -> int:
        """Take the next batch and return how many rows of it were deleted. Raises Unavailable."""
        count, after = await pool.run(lambda connection: pruning.prune(connection, self._kind.value, self._after))
        self.is_over = after is None
        self._after = after or self._kind.beginning
        return count
