"""Own workflows that are made up: a body that does what its input says, and which inputs there are."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal, cast

from hypothesis import strategies as st

from aiki import (
    Child,
    ChildFailed,
    Event,
    EventTimeout,
    Json,
    Retry,
    SendFailed,
    TaskFailed,
    TaskOutcomeUnknown,
    WorkflowRun,
    task,
    task_run,
    workflow,
)

Step = list[Any]
EVENTS: Final = {name: Event(name, type=str) for name in ("a", "b")}
CAUGHT: Final = (TaskFailed, ChildFailed, EventTimeout, SendFailed, TaskOutcomeUnknown, TimeoutError)
LATER: Final = "100ms"
"""When children begin: not at a moment at which their parents do anything, for who is first then is nobody's affair."""
TAKEN: Final = "37ms"
"""How long a parent leaves a child that it cancels: whether its end or what the parent does next is first, as well."""
_GENERATIONS: Final = 2


@task
async def act(name: str) -> str:
    return name


@task(retry=Retry.fixed(3, "2s"))
async def flaky(times: int) -> str:
    if task_run().attempt <= times:
        raise ValueError(f"try {task_run().attempt} fails")
    return f"try {task_run().attempt}"


@task(at_most_once=True)
async def pay(name: str) -> str:
    return name


@workflow
async def story(run: WorkflowRun, steps: list[Json]) -> list[str]:
    """Do what the steps say, and return what came of each."""
    return await _Teller(run).all(cast("list[Step]", steps))


class _Teller:
    """One life of a run."""

    def __init__(self, run: WorkflowRun) -> None:
        self._run = run
        self._children: list[Child[list[str]]] = []

    async def all(self, steps: list[Step]) -> list[str]:
        return [str(await getattr(self, f"_{kind}")(*rest)) for kind, *rest in steps]

    async def _act(self, name: str) -> str:
        return await act.run(self._run, name)

    async def _pay(self, name: str) -> str:
        return await pay.run(self._run, name)

    async def _flaky(self, times: int) -> str:
        return await flaky.run(self._run, times)

    async def _sleep(self, seconds: int) -> str:
        await self._run.sleep(f"{seconds}s")
        return f"slept until {self._run.now().timestamp() % 86_400:.6f}"

    async def _wait(self, name: str, count: int, seconds: int) -> str:
        timeout = f"{seconds}s" if seconds else None
        return ",".join(await self._run.wait_for(EVENTS[name], count=count, timeout=timeout))

    async def _any(self, seconds: int) -> str:
        message = await self._run.wait_any(*EVENTS.values(), timeout=f"{seconds}s")
        return f"{message.event.name} {message.value}"

    async def _catch(self, steps: list[Step]) -> str:
        try:
            return ",".join(await self.all(steps))
        except CAUGHT as error:
            return type(error).__name__

    async def _undo(self, steps: list[Step], undone: list[Step]) -> str:
        try:
            return ",".join(await self.all(steps))
        finally:
            await self.all(undone)

    async def _within(self, seconds: int, steps: list[Step]) -> str:
        async with asyncio.timeout(seconds):
            return ",".join(await self.all(steps))

    async def _both(self, one: list[Step], other: list[Step]) -> str:
        return str(await asyncio.gather(self.all(one), self.all(other)))

    async def _child(self, steps: list[Step]) -> str:
        return str(await story.options(delay=LATER).run(self._run, cast("list[Json]", steps)))

    async def _start(self, close: Literal["cancel", "abandon", "wait"], steps: list[Step]) -> str:
        later = story.options(parent_close=close, delay=LATER)
        self._children.append(await later.start(self._run, cast("list[Json]", steps)))
        return "started"

    async def _join(self) -> str:
        return str(await self._run.all(self._children))

    async def _tell(self, name: str) -> str:
        for child in self._children[-1:]:
            await child.send(EVENTS[name], "from above")
        return "told"

    async def _stop(self) -> str:
        for child in self._children[-1:]:
            await child.cancel()
            await self._run.sleep(TAKEN)
        return "stopped"

    async def _onward(self, steps: list[Step]) -> str:
        if self._run.generation < _GENERATIONS:
            story.continue_as_new(self._run, cast("list[Json]", steps))
        return "far enough"

    async def _show(self, number: int) -> str:
        self._run.set_details(number)
        self._run.set_labels({"shown": str(number)})
        return "shown"

    async def _fail(self) -> str:
        raise ValueError("broken")


_SECONDS: Final = st.sampled_from([1, 3, 10, 60, 600])
_NAMES: Final = st.sampled_from(sorted(EVENTS))


def _of(kind: str, *rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(kind), *rest).map(list)


_SIMPLE: Final = st.one_of(
    _of("act", st.sampled_from(["x", "y"])),
    _of("pay", st.sampled_from(["x", "y"])),
    _of("flaky", st.integers(1, 3)),
    _of("sleep", _SECONDS),
    _of("wait", _NAMES, st.integers(1, 2), st.sampled_from([0, 5, 60])),
    _of("any", st.sampled_from([5, 60])),
    _of("show", st.integers(1, 2)),
    _of("join"),
    _of("tell", _NAMES),
    _of("stop"),
    _of("fail"),
)


def _deeper(steps: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[Step]:
    return st.one_of(
        _of("catch", steps),
        _of("undo", steps, steps),
        _of("within", st.sampled_from([2, 30]), steps),
        _of("both", steps, steps),
        _of("child", steps),
        _of("start", st.sampled_from(["cancel", "abandon", "wait"]), steps),
        _of("onward", steps),
    )


def _steps(step: st.SearchStrategy[Step], most: int) -> st.SearchStrategy[list[Step]]:
    return st.lists(step, min_size=1, max_size=most)


_INNER: Final = _steps(_SIMPLE, 3)
_OUTER: Final = _steps(st.one_of(_SIMPLE, _deeper(_INNER), _deeper(_steps(st.one_of(_SIMPLE, _deeper(_INNER)), 2))), 3)
_FIRST: Final = st.one_of(
    _of("wait", _NAMES, st.just(1), st.sampled_from([0, 60])),
    _of("sleep", _SECONDS),
    _of("start", st.sampled_from(["cancel", "abandon", "wait"]), _INNER),
    _of("act", st.just("x")),
)
PROGRAMS: Final = st.builds(lambda first, rest: [first, *rest], _FIRST, _OUTER)
"""Inputs of `story`: most do not end at once, so that something can be ordered of their runs."""
