"""Durable workflows for Python: each task's result is committed before the workflow goes on.

Importing makes objects and nothing else. What talks to the network is imported when it is first asked for, so that a
module of workflows, and the command line, start quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiki.call import Call
from aiki.core.errors import (
    AikiError,
    ConfigError,
    Conflict,
    Denied,
    Fatal,
    Fenced,
    NondeterminismError,
    NotFound,
    Overloaded,
    PayloadError,
    RetryAfter,
    RunBlocked,
    RunCancelled,
    RunFailed,
    TaskFailed,
    TaskOutcomeUnknown,
    Unavailable,
    Unsupported,
    UsageError,
    WaitTimeout,
)
from aiki.core.retry import Retry
from aiki.core.states import State
from aiki.payload import Json
from aiki.run import WorkflowRun, task_run
from aiki.task import Task, task
from aiki.workflow import Workflow, workflow

if TYPE_CHECKING:
    from aiki.blocking import BlockingClient, BlockingHandle
    from aiki.client import Client
    from aiki.handle import Handle
    from aiki.named import NamedCall
    from aiki.status import RunStatus
    from aiki.stored import Unreadable
    from aiki.worker import Worker

__all__ = [
    "AikiError",
    "BlockingClient",
    "BlockingHandle",
    "Call",
    "Client",
    "ConfigError",
    "Conflict",
    "Denied",
    "Fatal",
    "Fenced",
    "Handle",
    "Json",
    "NamedCall",
    "NondeterminismError",
    "NotFound",
    "Overloaded",
    "PayloadError",
    "Retry",
    "RetryAfter",
    "RunBlocked",
    "RunCancelled",
    "RunFailed",
    "RunStatus",
    "State",
    "Task",
    "TaskFailed",
    "TaskOutcomeUnknown",
    "Unavailable",
    "Unreadable",
    "Unsupported",
    "UsageError",
    "WaitTimeout",
    "Worker",
    "Workflow",
    "WorkflowRun",
    "task",
    "task_run",
    "workflow",
]

_LATER = {
    "BlockingClient": "aiki.blocking",
    "BlockingHandle": "aiki.blocking",
    "Client": "aiki.client",
    "Handle": "aiki.handle",
    "NamedCall": "aiki.named",
    "RunStatus": "aiki.status",
    "Unreadable": "aiki.stored",
    "Worker": "aiki.worker",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'aiki' has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
