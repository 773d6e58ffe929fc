"""Own the hints of a worker: which routes have a pull outstanding, and the hints that came.

Invariant: the hints still to come of all pulls never sum to more than the slots that were free when they were pulled,
so a worker does not hoard what others could run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from aiki.transport import PULL_SECONDS, Hint, HintPulls, Transport
from aiki.wire import subjects

GRACE_SECONDS: Final = 0.25
"""A pull is counted a little longer than it lives, so that its last hint still belongs to it."""
REST_SECONDS: Final = 0.05
REST_SECONDS_MAX: Final = 2.0
"""A route whose pull was refused (no consumer yet, JetStream down) is left alone for a while that doubles."""


class Pulls:
    """The pulls over a worker's routes, at most one outstanding per route. `on_change` is called when to look again."""

    def __init__(self, transport: Transport, routes: Iterable[tuple[str, str]], on_change: Callable[[], None]) -> None:
        self.routes = {subjects.consumer(transport.namespace, *route): route for route in routes}
        """By consumer."""
        self.last_hint = time.monotonic()
        self._transport = transport
        self._on_change = on_change
        self._hints: list[Hint] = []
        self._inbox: HintPulls | None = None
        self._outstanding: dict[str, tuple[int, float]] = {}
        """By consumer: the hints still to come, and when the pull is over."""
        self._resting: dict[str, tuple[float, float]] = {}
        """By consumer: how long it rests, and until when."""

    def serve(self, route: tuple[str, str]) -> None:
        """Pull hints of one more route."""
        self.routes[subjects.consumer(self._transport.namespace, *route)] = route
        self._on_change()

    @property
    def refused(self) -> bool:
        """Whether hints cannot come now: every route's last pull was refused, as when JetStream is down."""
        return len(self._resting) == len(self.routes)

    @property
    def outstanding(self) -> int:
        """How many slots are spoken for: by hints that may still come, and by those that have."""
        now = time.monotonic()
        return sum(left for left, end in self._outstanding.values() if left > 0 and end > now) + len(self._hints)

    async def open(self) -> None:
        """Begin to receive hints."""
        self._inbox = await self._transport.hints(self._on_hint, self._on_over)

    async def close(self) -> None:
        """Take all pulls back, and let others have the hints at once: also those that are on their way here.

        A hint that came to a worker which claims no more would be delivered again only when its ack is overdue.
        """
        if self._inbox is not None:
            await self._inbox.close()
        await self.give_back_surplus(0, 0.0)

    async def pull(self, free: int) -> None:
        """Spread the free slots that no pull holds over the routes without a pull."""
        assert self._inbox is not None
        now = time.monotonic()
        self._outstanding = {route: pull for route, pull in self._outstanding.items() if pull[0] > 0 and pull[1] > now}
        idle = [route for route in self.routes if route not in self._outstanding and self._rests_until(route) <= now]
        budget = free - sum(left for left, _ in self._outstanding.values())
        if not idle or budget < len(idle):
            return
        for route in idle:
            batch = budget // len(idle)
            self._outstanding[route] = (batch, now + PULL_SECONDS + GRACE_SECONDS)
            await self._inbox.pull(*self.routes[route], batch)

    def take(self, most: int) -> list[Hint]:
        """Return up to `most` hints that have come, the oldest first."""
        taken, self._hints = self._hints[:most], self._hints[most:]
        return taken

    async def give_back(self, hints: Iterable[Hint], delay_seconds: float) -> None:
        """Let hints be delivered again after the delay, here or elsewhere."""
        for hint in hints:
            await hint.nak(delay_seconds)

    async def give_back_surplus(self, keep: int, delay_seconds: float) -> None:
        """Give back what came beyond `keep`."""
        surplus, self._hints = self._hints[keep:], self._hints[:keep]
        await self.give_back(surplus, delay_seconds)

    def seconds_to_next(self) -> float:
        """Return when to pull again, if nothing happens before."""
        now = time.monotonic()
        ends = [end for left, end in self._outstanding.values() if left > 0]
        ends += [self._rests_until(route) for route in self._resting]
        return max(0.01, min([*(end for end in ends if end > now), now + PULL_SECONDS]) - now)

    def _rests_until(self, route: str) -> float:
        return self._resting.get(route, (0.0, 0.0))[1]

    def _on_hint(self, hint: Hint) -> None:
        self.last_hint = time.monotonic()
        self._hints.append(hint)
        self._resting.pop(hint.route, None)
        if hint.route in self._outstanding:
            left, end = self._outstanding[hint.route]
            self._outstanding[hint.route] = (left - 1, end)
        self._on_change()

    def _on_over(self, route: str, expired: bool) -> None:
        if route not in self.routes:
            return  # whoever sees our inbox may write there
        self._outstanding.pop(route, None)
        if expired:
            self._resting.pop(route, None)
        else:
            rest, _ = self._resting.get(route, (REST_SECONDS / 2, 0.0))
            rest = min(2 * rest, REST_SECONDS_MAX)
            self._resting[route] = (rest, time.monotonic() + rest)
        self._on_change()
