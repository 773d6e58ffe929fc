"""Own how tests look at the families of runs in memory, and the lives of children that no test lives itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiki.testing.memory.run import Run

if TYPE_CHECKING:
    from aiki.wire.messages.options import ParentClose
    from tests.worlds.world import World


@dataclass(eq=False)
class Link:
    """One start: the run that it has made, or the one with its key that it found."""

    parent: World
    start_id: str
    child: World
    owned: bool
    parent_close: ParentClose
    generation: int


class Family:
    """Whom a run has started, and who has started it."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def children(self) -> dict[str, Link]:
        world = self._world
        return {
            start_id: Link(world, start_id, world.runs[link.child.id], link.owned, link.parent_close, link.generation)
            for start_id, link in world.run.children.items()
        }

    @property
    def owner(self) -> World | None:
        """The run that has started it, if one has."""
        parent = self._world.run.parent
        return None if parent is None else self._world.runs[parent.id]


def live_beside(parent: World, run: Run) -> World:
    """Live the run of a child to its end."""
    flow = next(flow for flow in parent.workflows if (flow.name, flow.version) == run.route)
    child = type(parent)(
        flow,
        limits=parent.limits,
        pools=parent.pools,
        seed=parent.random.randrange(2**32),
        run_id=run.id,
        latency=parent.latency,
        page_length=parent.page_length,
        runs=parent.runs,
        children=parent.workflows,
        run=run,
    )
    parent.lives.append(asyncio.create_task(child.finish()))
    return child


def live_again(old: World, run: Run) -> World:
    """Live the run that goes on in the place of another to its end."""
    new = type(old)(old.workflow, seed=old.random.randrange(2**32), run_id=run.id, runs=old.runs, run=run)
    old.lives.append(asyncio.create_task(new.finish()))
    return new
