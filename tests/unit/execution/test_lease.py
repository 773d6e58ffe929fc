"""The lease and the start of tasks: nothing begins while it is uncertain, and nothing is forgotten afterwards."""

from __future__ import annotations

import ast
import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aiki.execution
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import workflow
from aiki.execution import Lease, Limits, Pools
from aiki.execution.lease import boottime
from aiki.execution.tasks import attempts
from aiki.execution.tasks.processes import Processes
from aiki.execution.tasks.threads import Threads
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.brink_tasks import in_coroutine, in_process, in_thread, words, write
from tests.unit.execution.slow_to_import import in_slow_process
from tests.waiting import wait_until
from tests.worlds.world import World


class Slipping(Lease):
    """A lease that is certain at every look, but for the next one each time that it was told to slip."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.slips = 0
        super().__init__()

    @property
    def certain_until(self) -> float:
        certain = not self.slips
        self.slips -= not certain
        write(self.path, "certain" if certain else "uncertain")
        return math.inf if certain else 0.0

    @certain_until.setter
    def certain_until(self, moment: float) -> None:
        """Keep to the script."""


@workflow
async def one_call(run: WorkflowRun, path: str, fails: int) -> None:
    await chosen[0].run(run, path, fails)


chosen: list[Task[Any, Any]] = []


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "words")


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools(Threads(1), Processes(1))
    yield made
    made.close()


def world_of(of: Task[Any, Any], path: str, fails: int, pools: Pools, lease: Lease) -> World:
    chosen[:] = [of]
    limits = Limits(lease_poll_seconds=0.01)
    world = World(one_call, f'{{"path":"{path}","fails":{fails}}}'.encode(), pools=pools, limits=limits)
    world.lease = lease
    return world


# -- every place at which an effect begins

KINDS = {
    "coroutine": (in_coroutine, {}),
    "thread": (in_thread, {}),
    "process": (in_process, {"executor": "process"}),
}
WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "first try": ({}, 0),
    "retry timer": ({"retry": Retry.fixed(2, "1ms")}, 1),
    "announced start": ({"at_most_once": True}, 0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_body_begins_only_right_after_a_certain_look(
    kind: str, way: str, path: str, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the decision to start a try and its body the lease becomes uncertain, two times out of three."""
    (of, where), (options, fails) = KINDS[kind], WAYS[way]
    hits = 0

    def slip(point: str) -> bool:
        nonlocal hits
        if point == "task.before_body":
            hits += 1
            lease.slips += hits % 3 != 0
        return False

    monkeypatch.setattr(attempts, "failpoint", slip)
    lease = Slipping(path)
    decorate: Any = task
    made = decorate(**where, **options)(of.fn)

    async def main() -> None:
        end = await world_of(made, path, fails, pools, lease).finish()
        assert end.move is Move.COMPLETE, bytes(end.error)

    asyncio.run(main())
    seen = words(path)
    bodies = [place for place, word in enumerate(seen) if word == "body"]
    assert len(bodies) == 1 + fails
    assert {seen[place - 1] for place in bodies} == {"certain"}
    assert seen.count("uncertain") == 2 * (1 + fails)


def test_no_other_place_calls_a_tasks_function() -> None:
    """What calls a task's function by itself looks at no lease, and is not walked above."""
    called = set()
    for file in Path(next(iter(aiki.execution.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fn":
                called.add(ast.unparse(node.func))
    assert called == {"workflow.fn"}, "a body has no effects"


# -- what lies between the decision and the body


def blocked_thread(pools: Pools, release: threading.Event) -> None:
    def hold() -> None:
        release.wait()

    pools.threads.submit(hold)


def taken_child(pools: Pools, release: threading.Event) -> None:
    def hold() -> None:
        release.wait()

    pools.processes.threads.submit(hold)


@pytest.mark.parametrize(
    ("of", "busy"), [(in_thread, blocked_thread), (in_process, taken_child)], ids=["thread", "process"]
)
def test_a_try_that_waited_past_its_lease_does_not_begin(
    of: Task[Any, Any], busy: Callable[[Pools, threading.Event], None], path: str
) -> None:
    """All threads, or children, are at work when it is started, and the lease is lost before one is free."""
    pools = Pools(threads=Threads(1), processes=Processes(1))
    release = threading.Event()

    async def main() -> None:
        lease = Lease(certain_until=math.inf)
        busy(pools, release)
        world = world_of(of, path, 0, pools, lease)
        execution = world.claim()
        await wait_until(lambda: execution._attempts.running)
        lease.certain_until = 0.0
        release.set()
        await wait_until(lambda: not execution._attempts.running, what="the try's return")
        assert execution._attempts.waiting
        assert words(path) == []
        lease.certain_until = math.inf
        await world.settle()
        assert words(path) == ["body"]

    asyncio.run(main())
    pools.close()


def test_a_child_that_imports_for_longer_than_the_lease_lasts_does_not_begin(path: str, pools: Pools) -> None:
    async def main() -> None:
        lease = Lease(certain_until=math.inf)
        world = world_of(in_slow_process, path, 0, pools, lease)
        lease.certain_until = boottime() + 0.2
        execution = world.claim()
        await wait_until(lambda: execution._attempts.running)
        await wait_until(lambda: not execution._attempts.running, what="the child's answer")
        assert words(path) == []
        lease.certain_until = math.inf
        await world.settle()
        assert words(path) == ["body"]

    asyncio.run(main())


def test_a_lease_is_waited_for_and_then_the_task_begins(path: str, pools: Pools) -> None:
    async def main() -> None:
        lease = Lease()
        world = world_of(in_coroutine, path, 0, pools, lease)
        execution = world.claim()
        await wait_until(lambda: execution._attempts.uncertain)
        assert words(path) == []
        lease.certain_until = math.inf
        await world.settle()
        assert words(path) == ["body"]

    asyncio.run(main())


@pytest.mark.parametrize("ttl", [1.0, 3.0, 10.0, 30.0])
def test_no_reply_is_waited_for_as_long_as_it_takes_until_a_renewal_names_its_claim(ttl: float) -> None:
    assert 0.8 * ttl / 3 < Lease("id", ttl).reply_seconds < ttl / 3
