"""Tasks that give signs of life, or none; those in processes import this module."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiki.core.errors import TaskCancelled
from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.inside.task_run import task_run


@task(executor="process", heartbeat_timeout="2s", retry=Retry.none())
def beats(times: int) -> int:
    for _ in range(times):
        time.sleep(0.1)
        task_run().heartbeat()
    return times


@task(executor="process", heartbeat_timeout="1s", retry=Retry.fixed(2, "1ms"))
def falls_silent() -> list[Any]:
    run = task_run()
    if run.heartbeat_details is None:
        for row in range(1000):
            run.heartbeat({"row": row})
        time.sleep(1000)
    return [run.attempt, run.heartbeat_details]


@task(executor="process", retry=Retry.fixed(2, "1ms"))
def fails_at_once() -> list[Any]:
    run = task_run()
    if run.heartbeat_details is None:
        for row in range(100):
            run.heartbeat(row)
        raise ValueError
    return [run.attempt, run.heartbeat_details]


@task(executor="process", cancel_grace="30s", retry=Retry.none())
def cleans_up(sign: str, left: str) -> None:
    try:
        Path(sign).touch()
        time.sleep(1000)
    except TaskCancelled:
        assert task_run().cancelled
        Path(left).touch()
        raise


@task(executor="process", cancel_grace="30s", retry=Retry.none())
def sleeps_on(sign: str, left: str) -> None:
    """Let no Python run between two calls of the system: the signal that ends one is not heard before the next."""
    sleep = ctypes.CDLL(None).sleep
    try:
        Path(sign).touch()
        list(map(sleep, (1000, 1000)))
    except TaskCancelled:
        Path(left).touch()
        raise


@task(executor="process", cancel_grace="1s", retry=Retry.none())
def minds_no_word(sign: str, left: str) -> None:
    while not Path(left).exists():
        with suppress(TaskCancelled):
            Path(sign).touch()
            time.sleep(1000)


@task
def until_there(sign: str) -> None:
    while not Path(sign).exists():
        time.sleep(0.01)


@task(executor="process")
def stops_itself() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "done"
