"""Tasks that give signs of life, or none; those in processes import this module."""

from __future__ import annotations

import os
import signal
import time
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


@task(executor="process", cancel_grace="3s", retry=Retry.none())
def waits(sign: str, left: str, minds: bool) -> None:
    while True:
        try:
            Path(sign).touch()
            time.sleep(1000)
        except TaskCancelled:
            if minds:
                assert task_run().cancelled
                Path(left).touch()
                raise


@task
def until_there(sign: str) -> None:
    while not Path(sign).exists():
        time.sleep(0.01)


@task(executor="process")
def stops_itself() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "done"
