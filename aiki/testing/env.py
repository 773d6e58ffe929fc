"""Own the environment of a test as its writer sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from itertools import count
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from aiki.client.client import Client
from aiki.core.duration import Duration, to_microseconds, to_seconds
from aiki.core.errors import UsageError
from aiki.core.ids import uuid7
from aiki.core.moments import to_datetime, to_wire
from aiki.definitions.handle import Handle
from aiki.definitions.task import Task
from aiki.definitions.workflow import Workflow
from aiki.testing.clock import BEGIN, Clock
from aiki.testing.leftovers import leftovers
from aiki.testing.mocks import Mock
from aiki.testing.stage import Stage
from aiki.testing.ways import LEAVING, STAYING, Ways
from aiki.testing.wire import MemoryWire
from aiki.testing.work import Work

P = ParamSpec("P")
R = TypeVar("R")


class TestEnv:
    """Aiki in memory, for one test: `async with TestEnv() as env: handle = await env.enqueue(my_workflow, ...)`.

    Bodies run as in production, and tasks on the test's own loop, plain functions in threads. No server is needed. The
    clock stands still, while tasks run too, until the test lets it go on by `advance`. Ids of runs, and with them what
    a body gets of `run.random()` and `run.uuid()`, are the same each time that a test runs. Two environments know
    nothing of each other.

    `workflows` need only be named if nothing that the test calls names them. With `always_replay` a run leaves memory
    at each wait, and after each outcome, and begins again from its journal: so a body that would not go the same way is
    found. That costs the square of the steps: some hundreds of them take seconds. With `strict` the end of the block
    raises UsageError if something was forgotten: an event that nobody has taken, a run that has not ended, a failure
    that nobody has seen, a mock that was not called. `patience` is how long a task may run in real time before whoever
    waits for it is told its line. `shared` is what `task_run().shared(Type)` gives: in production a worker's `lifespan`
    makes it. `start` is what the clock shows first, 1 January 2026 if none is given.
    """

    __test__ = False  # for pytest: it collects no tests from here

    def __init__(
        self,
        *,
        workflows: Iterable[Workflow[..., Any]] = (),
        always_replay: bool = False,
        strict: bool = False,
        patience: Duration = "5s",
        shared: Any = None,
        start: datetime | None = None,
    ) -> None:
        self._workflows = list(workflows)
        self._always_replay = always_replay
        self._strict = strict
        self._shared = shared
        self._patience = to_seconds(patience)
        if self._patience <= 0:
            raise UsageError(f"patience={patience!r}: it must be longer than nothing", hint='TestEnv(patience="30s")')
        self._begin = BEGIN if start is None else to_wire(start, what="start=")
        self._mocks: dict[Any, Mock[Any]] = {}
        self._work = Work()
        self._stage: Stage | None = None
        self._client: Client | None = None
        self._wire: MemoryWire | None = None

    async def __aenter__(self) -> Self:
        """Make the engine. Raises UsageError where no asyncio loop runs, and if it was entered before."""
        if self._stage is not None:
            raise UsageError("this TestEnv was entered before: each test makes its own", hint="TestEnv()")
        _check_asyncio()
        limits = LEAVING if self._always_replay else STAYING
        ways = Ways(limits, self._stand_in, self._body, replays=self._always_replay, shared=self._shared)
        clock = Clock(self._begin)
        self._stage = Stage(clock, self._workflows, ways, self._work, patience=self._patience)
        numbers = count(1)
        self._wire = MemoryWire(self._stage, new_id=lambda: _run_id(clock.now, next(numbers)))
        self._client = Client(self._wire)
        await self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop all runs. If the test is strict, and has not failed by itself, raises UsageError for what it forgot."""
        assert self._client is not None
        assert self._stage is not None
        assert self._wire is not None
        try:
            if self._strict and error is None:
                await self._check(self._stage, self._wire)
        finally:
            await self._client.close()
            self._wire.close()
            await self._stage.close()

    @property
    def client(self) -> Client:
        """A client of this environment, with all that a client has."""
        self._inside()
        assert self._client is not None
        return self._client

    def now(self) -> datetime:
        """Return the time of the test's clock."""
        return to_datetime(self._inside().clock.now)

    def mock(self, of: Task[P, R] | Workflow[P, R], /) -> Mock[R]:
        """Return the mock of a task, or of a child workflow, which is told what its calls come to; the same each time.

        It is known by its function: a task with other options is the same. Tell it before the run calls the task.
        """
        if not isinstance(of, Task | Workflow):
            raise UsageError(
                f"env.mock() takes a task or a workflow, not {of!r}", hint="env.mock(my_task).returns(...)"
            )
        return self._mocks.setdefault(of.fn, Mock(of, self._work, self._sleep))

    async def enqueue(self, workflow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Enqueue a run, and return its handle when it has gone as far as it goes at once.

        Raises as `Workflow.enqueue`.
        """
        stage = self._inside()
        if not isinstance(workflow, Workflow):
            raise UsageError(
                f"env.enqueue() takes a workflow and its arguments, not {workflow!r}",
                hint="env.client.enqueue(...) takes a name with its payload, and what workflow.bind(...) returns",
            )
        stage.served.registry.add(workflow)
        return await workflow.enqueue(self.client, *args, **kwargs)

    async def advance(self, by: Duration, /) -> None:
        """Let the clock go on by so much, from one date to the next, with all that happens then.

        It waits first until no task runs, and again at each date; with "0s" it does no more. At the end the clock shows
        exactly so much more. Raises StillWaiting if a task runs for longer than the patience.
        """
        await self._inside().advance(to_microseconds(by))

    async def crash_worker(self) -> None:
        """Have the worker die as it is: what is not recorded is lost, and another goes on from the journals."""
        await self._inside().crash()

    # -- private

    async def _check(self, stage: Stage, wire: MemoryWire) -> None:
        await stage.stillness.still()
        await stage.rest()
        if lines := leftovers(stage, self._mocks.values(), wire.seen):
            raise UsageError("\n".join(["the test ended, and left (strict=True):", *(f"- {line}" for line in lines)]))

    def _inside(self) -> Stage:
        if self._stage is None or self._wire is None:
            raise UsageError("this TestEnv was not entered", hint="async with TestEnv() as env: ...")
        self._wire.check_loop()
        return self._stage

    async def _sleep(self, seconds: float) -> None:
        await self._inside().sleep(seconds)

    def _stand_in(self, task: Task[..., Any]) -> Task[..., Any]:
        watched = self._work.watched(task)
        mock = self._mocks.get(task.fn)
        return watched if mock is None else mock.stand_in(watched)

    def _body(self, workflow: Workflow[..., Any]) -> Workflow[..., Any]:
        mock = self._mocks.get(workflow.fn)
        return workflow if mock is None else mock.body_of(workflow)


def _run_id(now: int, number: int) -> str:
    """Return a run's id, the same each time that a test runs, and so is the chance that its body is given."""
    return str(uuid7(milliseconds=now // 1_000, random_bits=number))


def _check_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "TestEnv needs an asyncio loop, and none runs here (on trio, workflows do not run)",
            hint='with pytest and anyio: def anyio_backend(): return "asyncio"',
        ) from None
