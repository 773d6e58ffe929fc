"""Tasks that run in processes of their own, which import this module."""

import os
import time

from aiki.core.errors import Fatal
from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.inside.task_run import task_run


@task(executor="process")
def where(number: int) -> tuple[int, int, str]:
    return os.getpid(), number, task_run().idempotency_key


@task(executor="process", timeout="300ms", retry=Retry.none())
def spin(path: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - nothing but the process's number
        file.write(str(os.getpid()))
    while True:
        time.sleep(0.01)


@task(executor="process", retry=Retry.fixed(2, "10ms"))
def die() -> None:
    os._exit(3)


@task(executor="process")
def refuse() -> None:
    raise Fatal("not even once more")
