"""Own runs in memory that failed and are retried: on the journal that they left, with a retry's entry behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Raw

from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.definitions.workflow import Workflow, workflow
from aiki.inside.event import Event
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.rules.histories import read
from aiki.wire.messages import Entry, Failure, Retried
from tests.worlds.view import EPOCH
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

SECOND = 1_000_000
DAY = 86_400
FIRST = "0190b0a0-0000-7000-8000-000000000001"
RETRY = "0190b0a0-0000-7000-8000-0000000000{:02}"
"""The run that is the retry of that number, from 2."""
approved = Event("approved", type=str)
tried: list[str] = []
"""The tries of `work` and `charge`: the name, and which try it was."""
broken: set[str] = set()
"""What `work` and `charge` fail at."""

Body = Callable[[WorkflowRun], Coroutine[Any, Any, Any]]


async def _do(name: str, seconds: float) -> str:
    tried.append(f"{name} {task_run().attempt}")
    await asyncio.sleep(seconds)
    if name in broken:
        raise ValueError(name)
    return name


@task(retry=Retry.none())
async def work(name: str, seconds: float = 0) -> str:
    return await _do(name, seconds)


@task(retry=Retry.fixed(3, "1s"), total_timeout="60s")
async def charge(name: str) -> str:
    return await _do(name, 0)


def flow_of(body: Body) -> Workflow[Any, Any]:
    @workflow(name="retried", version="1")
    async def flow(run: WorkflowRun) -> Any:
        return await body(run)

    return flow


def lived(body: Body, **options: Any) -> World:
    """Run the body to its end in a world of its own."""

    async def main() -> World:
        world = World(flow_of(body), run_id=FIRST, **options)
        await world.finish()
        return world

    return simulate(main())


def cut_of(world: World) -> int:
    """Return how many entries stay if the run goes on from where it failed."""
    assert world.end is not None
    place = msgspec.json.decode(bytes(world.end.error), type=Failure).cut
    return len(read(world.journal).entries) if place is None else place - 1


def retry_of(world: World, *, cut: int | None = None, after: float = DAY) -> Entry:
    """Return the entry of a retry, so many seconds after the outcome that failed the run."""
    history = read(world.journal)
    cut = cut_of(world) if cut is None else cut
    failed_at = history.entries[min(cut, len(history.entries) - 1)].at if history.entries else EPOCH
    idle = round(after * SECOND)
    attempt = history.retries[-1].attempt + 1 if history.retries else 2
    key = history.entries[cut].key if cut < len(history.entries) else ""
    of = world.run_id if attempt == 2 else RETRY.format(attempt - 1)
    value = Retried(cut, attempt, failed_at + idle, idle, key, RETRY.format(attempt), of)
    return Entry(f"retry:{attempt}", True, Raw(msgspec.json.encode(value)), value.at)


def retried(world: World, body: Body | None = None, *, journal: Sequence[Entry] | None = None, **options: Any) -> World:
    """Run the world's body once more behind a retry of its failure, or on another journal with one, to its end."""
    known = [*world.journal, retry_of(world, **options)] if journal is None else list(journal)
    flow = world.workflow if body is None else flow_of(body)

    async def main() -> World:
        now = max(entry.at for entry in known)
        await asyncio.sleep((now - EPOCH) / SECOND)
        other = World(flow, world.input, run_id=world.run_id)
        other.journal, other.attempts = known, list(world.attempts)
        other.attempt = read(known).retries[-1].attempt
        other.inbox.begin_as(world.inbox)
        kept = {read(world.journal).entries[place].key for place in range(read(known).retries[-1].cut)}
        other.inbox.taken = {number: key for number, key in other.inbox.taken.items() if key in kept}
        other.standing = replace(other.standing, news=world.standing.news)
        await other.finish()
        return other

    return simulate(main())


def names(world: World) -> list[str]:
    """Return what the journal says that counts, by the names of what was called."""
    return [entry.key.split(":")[1] for entry in read(world.journal).entries]
