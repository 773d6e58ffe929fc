"""Own what a try works with: the lease it begins under, pools, clock, values, the loop to tell; handed on as one thing.

It knows no run: all runs that were claimed under one lease share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from aiki.execution.lease import Lease
from aiki.execution.tasks.hands import Hands
from aiki.execution.tasks.pools import Pools


class Bench:
    """Made on the worker's loop, in the context that every try gets a copy of."""

    __slots__ = ("context", "hands", "lease", "loop", "now", "pools", "room", "shared")

    def __init__(
        self,
        lease: Lease,
        *,
        now: Callable[[], int],
        room: Callable[[], int],
        pools: Pools,
        shared: Any = None,
    ) -> None:
        """`now` is the database's time, `room` the bytes of a message; `shared` is what the worker's tasks share."""
        self.lease = lease
        self.now = now
        self.room = room
        self.pools = pools
        self.shared = shared
        self.loop = asyncio.get_running_loop()
        self.context = copy_context()
        self.hands = Hands(self.loop, self.context)
        """In which coroutines are tried."""

    def close(self) -> None:
        """Keep nothing for tries that may come: those that run go on."""
        self.hands.close()
