"""Own what a try works with: the lease it begins under, pools, clock, values, the loop to tell; handed on as one thing.

It knows no run: all runs that were claimed under one lease share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from aiki.execution.lease import Lease
from aiki.execution.tasks.hands import Hands
from aiki.execution.tasks.pools import Pools

if TYPE_CHECKING:
    from aiki.definitions.task import Task


class Bench:
    """Made on the worker's loop, in the context that every try gets a copy of."""

    __slots__ = ("context", "hands", "lease", "loop", "namespace", "now", "pools", "room", "shared", "stand_in")

    def __init__(
        self,
        lease: Lease,
        *,
        now: Callable[[], int],
        room: Callable[[], int],
        pools: Pools,
        namespace: str = "default",
        shared: Any = None,
        loop: asyncio.AbstractEventLoop | None = None,
        stand_in: Callable[[Task[..., Any]], Task[..., Any]] | None = None,
    ) -> None:
        """`now` is the database's time, `room` the bytes of a message; `shared` is what the worker's tasks share.

        In `namespace` all its runs are.

        On `loop` timers are set (by default the running one, on which coroutines are tried in any case). `stand_in`
        returns what is tried in the place of a task that is called.
        """
        self.lease = lease
        self.now = now
        self.room = room
        self.pools = pools
        self.namespace = namespace
        self.shared = shared
        self.stand_in = stand_in
        running = asyncio.get_running_loop()
        self.loop = loop or running
        self.context = copy_context()
        self.hands = Hands(running, self.context)
        """In which coroutines are tried."""

    def close(self) -> None:
        """Keep nothing for tries that may come: those that run go on."""
        self.hands.close()
