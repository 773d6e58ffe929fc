"""Own which of many runs are looked at: some, spread over all, and the same whenever they are asked for. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import blake2b
from heapq import heappush, heappushpop


async def sample(run_ids: AsyncIterator[str], most: int) -> list[str]:
    """Return so many ids, in their order: those whose hashes are the smallest. Never more of them are in memory."""
    kept: list[tuple[int, str]] = []
    async for run_id in run_ids:
        item = -int.from_bytes(blake2b(run_id.encode(), digest_size=8).digest(), "big"), run_id
        if len(kept) < most:
            heappush(kept, item)
        else:
            heappushpop(kept, item)
    return sorted(run_id for _, run_id in kept)
