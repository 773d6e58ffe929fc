"""A task whose module takes its time to be imported by a child process."""

import multiprocessing
import time

from aiki.core.retry import Retry
from aiki.definitions.task import task
from tests.unit.execution.brink_tasks import body

if multiprocessing.parent_process() is not None:
    time.sleep(0.5)


@task(executor="process")
def in_slow_process(path: str, fails: int) -> None:
    body(path, fails)


@task(executor="process", retry=Retry.none(), timeout="450ms")
def quick_in_slow_process() -> str:
    return "done"
