"""Own the world that the tasks of a random program act on."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiki.core.errors import Fatal
from aiki.core.retry import Retry
from aiki.definitions.task import Task, task
from aiki.inside.task_run import task_run


def number_of(*values: object) -> int:
    return int(hashlib.blake2b(repr(values).encode(), digest_size=4).hexdigest(), 16)


@dataclass
class Outside:
    """The world that tasks act on: how long they take, what comes of them, and what they may not do."""

    draw: random.Random
    pure: bool = False
    """Whether a result depends on the input alone."""
    recorded: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    """Keys of tasks that were started although their outcome was in the journal."""
    is_held: Callable[[], bool] = lambda: False
    """Whether nothing may be started: a pause has come."""
    held: list[str] = field(default_factory=list)
    """Keys of tasks that were started all the same."""
    life: Callable[[], tuple[str, int]] = lambda: ("", 0)
    """Which origin it is a run of, and in which generation."""
    doubled: list[str] = field(default_factory=list)
    """Idempotency keys that are not one to one with a key of a task in one of those."""

    async def act(self, name: str, argument: str) -> str:
        me = task_run()
        self.started.append(me.key)
        if me.key in self.recorded:
            self.again.append(me.key)
        place, key = (*self.life(), me.key), (me.idempotency_key,)
        if KEYS.setdefault(me.idempotency_key, place) != place or KEYS.setdefault(repr(place), key) != key:
            self.doubled.append(me.idempotency_key)
        if self.is_held():
            self.held.append(me.key)
        pause = self.draw.choice([0, 0.05, 0.1, 0.5, 0.5, 1, 3, 8])
        if pause:
            await asyncio.sleep(pause)
        if name == "bad":
            raise Fatal("bad by nature")
        if name == "shaky" and self.draw.random() < 0.5:
            raise Fatal("bad luck")
        if name == "flaky" and self.draw.random() < 0.5:
            raise ValueError(f"attempt {me.attempt} fails")
        return f"{name}/{number_of(argument) if self.pure else (number_of(argument), self.draw.random())}"


def _make_tasks() -> dict[str, Task[Any, Any]]:
    retries = {"flaky": Retry.from_delays(["500ms", "2s", "20s"])}
    names = (
        "t0 t1 t2 t3 t4 env same cond bad ok fin ag cons won first to mo sh cancelled spun after rv cleanup flaky key"
        " shaky"
    )

    def make(name: str) -> Task[Any, Any]:
        async def act(argument: str) -> str:
            return await OUTSIDES[task_run().run_id].act(name, argument)

        return task(name=name, retry=retries.get(name, Retry.none()))(act)

    return {name: make(name) for name in names.split()}


KEYS: dict[str, tuple[object, ...]] = {}
"""What an idempotency key was made for, and which was made for that."""
OUTSIDES: dict[str, Outside] = {}
"""By run, what its tasks act on."""
TASKS = _make_tasks()
"""Those of all programs: to make them costs more than most programs do."""
