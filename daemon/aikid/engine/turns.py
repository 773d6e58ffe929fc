"""Own how long the loop is held by what takes its time for each of many: others have their turn in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

Item = TypeVar("Item")

HELD_SECONDS: Final = 0.02


async def in_turns(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items, and let others have the loop whenever it was held for a while."""
    until = time.monotonic() + HELD_SECONDS
    for item in items:
        yield item
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + HELD_SECONDS
