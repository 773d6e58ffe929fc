"""Own what a scenario is played on: an engine with a worker and a clock that the scenario moves, and who plays there.

A scenario is an async function over a `Stage`; it must pass unchanged on each engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from aiki import Client, Workflow
from aiki.core.duration import Duration
from aiki.wire.messages import Request

R = TypeVar("R")
Play = Callable[["Stage"], Awaitable[Any]]


class Stage(Protocol):
    """One engine, in a namespace of the scenario's own. Nothing moves but what the scenario moves."""

    client: Client

    async def settle(self) -> None:
        """Return when nothing moves before a date or a word from outside."""
        ...

    async def advance(self, by: Duration) -> None:
        """Let so much time pass, and all that is due meanwhile happen in its order."""
        ...

    async def miss(self, by: Duration) -> None:
        """Let so much time pass at once, as while no daemon runs: what was due meanwhile is late."""
        ...

    async def crash_worker(self) -> None:
        """Kill the worker: what it has not recorded is lost. Another one takes its place at once."""
        ...

    async def stop_worker(self) -> None:
        """Let the worker drain and go: nobody serves."""
        ...

    async def start_worker(self) -> None:
        """Have a worker serve again."""
        ...

    async def call(self, request: Request[R]) -> R:
        """Return what the engine answers to somebody else than its client and its worker."""
        ...


@dataclass(frozen=True)
class Scenario:
    """A play and the workflows that it takes. `shows` are the sentences of the rules that it stands for."""

    name: str
    play: Play
    workflows: Sequence[Workflow[..., Any]]
    shows: tuple[str, ...] = ()
    is_timed: bool = True
    """Whether all of it happens at the same moments on each engine; else only the answers are compared."""


SCENARIOS: Final[list[Scenario]] = []


def scenario(
    *workflows: Workflow[..., Any], shows: Sequence[str] = (), is_timed: bool = True
) -> Callable[[Play], Play]:
    """Have both engines play it with a worker that serves these workflows."""

    def take(play: Play) -> Play:
        SCENARIOS.append(Scenario(play.__name__, play, workflows, tuple(shows), is_timed))
        return play

    return take
