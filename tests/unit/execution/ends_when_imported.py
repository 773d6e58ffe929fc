"""A task whose module ends the child process that imports it."""

import multiprocessing
import os

from aiki.core.retry import Retry
from aiki.definitions.task import task

if multiprocessing.parent_process() is not None:
    os._exit(9)


@task(executor="process", retry=Retry.none())
def never() -> None:
    return None
