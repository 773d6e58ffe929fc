"""Workflows run to their end in a world of their own, and replayed from what that has recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import Workflow
from aiki.wire.messages import End
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

calls: list[str] = []


@task
async def double(number: int) -> int:
    calls.append(f"double {number}")
    return 2 * number


@task
async def slow(number: int) -> int:
    calls.append(f"slow {number}")
    await asyncio.sleep(5)
    return number


def error_of(end: End) -> str:
    return bytes(end.error).decode()


def run(
    flow: Workflow[Any, Any], input: bytes = b"{}", *, clock: Callable[[], float] | None = None, **options: Any
) -> World:
    """Run the workflow to its end in a world of its own."""

    async def main() -> World:
        world = World(flow, input, **options)
        await world.finish()
        return world

    return simulate(main(), clock=clock)


def output(world: World) -> str:
    assert world.end is not None
    assert world.end.move is Move.COMPLETE, error_of(world.end)
    return bytes(world.end.output).decode()


def again(world: World, flow: Workflow[Any, Any] | None = None, *, clock: Callable[[], float] | None = None) -> World:
    """Replay what `world` has recorded, with another workflow if given."""

    async def main() -> World:
        other = World(flow or world.workflow, world.input)
        other.journal, other.attempts = list(world.journal), list(world.attempts)
        other.inbox.begin_as(world.inbox)
        other.standing = replace(other.standing, news=world.standing.news)
        await other.finish()
        return other

    return simulate(main(), clock=clock)
