"""Workflows whose code at hand does to its process what no workflow may."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from aiki import WorkflowRun, task, workflow

print("imported, and said so")
IS_HOSTILE = "HOSTILE" in os.environ
"""Whether this is the code on which runs are replayed."""


@task
async def step(number: int) -> int:
    return number


@workflow(version="1")
async def hostile(run: WorkflowRun, how: str) -> str:
    """Take a step; where it is replayed do what is said then."""
    await step.run(run, 1)
    if IS_HOSTILE:
        DEEDS[how]()
    await step.run(run, 2)
    return "done"


def loop() -> None:
    while True:
        pass


def swallow() -> None:
    while True:
        with suppress(BaseException):
            time.sleep(1e6)


def stack() -> None:
    stack()


def speak() -> None:
    print("a body speaks", flush=True)
    os.write(1, b"a body writes\n")


def fork() -> None:
    if os.fork() == 0:
        time.sleep(1e6)


DEEDS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "print": speak,
    "fork": fork,
    "fork_on": os.fork,
    "loop": loop,
    "sleep": lambda: time.sleep(1e6),
    "swallow": swallow,
    "sleep_in_c": lambda: ctypes.PyDLL(None).sleep(1_000),  # it holds the interpreter's lock
    "exit": lambda: sys.exit(3),
    "stack": stack,
    "task": lambda: asyncio.run(asyncio.sleep(1)),
    "os_exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "kill_group": lambda: os.killpg(0, 9),
    "close": lambda: os.closerange(3, 100),
}
