"""Durable workflows for Python: each task's result is committed before the workflow goes on.

Importing makes objects and nothing else. What talks to the network is imported when it is first asked for, so that a
module of workflows, and the command line, start quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiki.core.errors import (
    AikiError,
    ChildFailed,
    ConfigError,
    Conflict,
    Denied,
    EventTimeout,
    Fatal,
    Fenced,
    NondeterminismError,
    NotFound,
    Overloaded,
    PayloadError,
    RetryAfter,
    RunBlocked,
    RunCancelled,
    RunEnded,
    RunFailed,
    RunTimedOut,
    SendFailed,
    TaskCancelled,
    TaskFailed,
    TaskOutcomeUnknown,
    Unavailable,
    Unsupported,
    UsageError,
    WaitTimeout,
)
from aiki.core.retry import Retry
from aiki.core.states import State
from aiki.definitions.call import Call
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import Workflow, workflow
from aiki.inside.child import Child
from aiki.inside.event import BoundEvent, Event, Message
from aiki.inside.fired import FiredSlot
from aiki.inside.onward import JournalSize
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.payload import Json

if TYPE_CHECKING:
    from aiki.client.blocking import BlockingClient
    from aiki.client.blocking_handle import BlockingHandle
    from aiki.client.blocking_schedules import BlockingSchedule
    from aiki.client.client import Client
    from aiki.client.counts import NamespaceSummary
    from aiki.client.deleting import DeletedRun
    from aiki.client.history import HistoryEntry
    from aiki.client.importing import ImportOutcome
    from aiki.client.matching import RunCount, RunFilter
    from aiki.client.named import NamedCall
    from aiki.client.schedule import Schedule
    from aiki.client.schedule_info import ScheduleInfo, SlotInfo
    from aiki.client.sending import SendOutcome
    from aiki.client.storage import StorageUse
    from aiki.client.when import When
    from aiki.client.workers import WorkerInfo
    from aiki.client.workflows import WorkflowInfo
    from aiki.definitions.bodies import BodyWarning
    from aiki.definitions.handle import Handle
    from aiki.definitions.status import RunStatus, TaskProgress
    from aiki.definitions.stored import Unreadable
    from aiki.definitions.view import CallView, RunView
    from aiki.definitions.why import Because, Why
    from aiki.worker import Worker

__all__ = [
    "AikiError",
    "Because",
    "BlockingClient",
    "BlockingHandle",
    "BlockingSchedule",
    "BodyWarning",
    "BoundEvent",
    "Call",
    "CallView",
    "Child",
    "ChildFailed",
    "Client",
    "ConfigError",
    "Conflict",
    "DeletedRun",
    "Denied",
    "Event",
    "EventTimeout",
    "Fatal",
    "Fenced",
    "FiredSlot",
    "Handle",
    "HistoryEntry",
    "ImportOutcome",
    "JournalSize",
    "Json",
    "Message",
    "NamedCall",
    "NamespaceSummary",
    "NondeterminismError",
    "NotFound",
    "Overloaded",
    "PayloadError",
    "Retry",
    "RetryAfter",
    "RunBlocked",
    "RunCancelled",
    "RunCount",
    "RunEnded",
    "RunFailed",
    "RunFilter",
    "RunStatus",
    "RunTimedOut",
    "RunView",
    "Schedule",
    "ScheduleInfo",
    "SendFailed",
    "SendOutcome",
    "SlotInfo",
    "State",
    "StorageUse",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskOutcomeUnknown",
    "TaskProgress",
    "Unavailable",
    "Unreadable",
    "Unsupported",
    "UsageError",
    "WaitTimeout",
    "When",
    "Why",
    "Worker",
    "WorkerInfo",
    "Workflow",
    "WorkflowInfo",
    "WorkflowRun",
    "task",
    "task_run",
    "workflow",
]

_LATER = {
    "Because": "aiki.definitions.why",
    "BlockingClient": "aiki.client.blocking",
    "BlockingHandle": "aiki.client.blocking_handle",
    "BlockingSchedule": "aiki.client.blocking_schedules",
    "BodyWarning": "aiki.definitions.bodies",
    "CallView": "aiki.definitions.view",
    "Client": "aiki.client.client",
    "DeletedRun": "aiki.client.deleting",
    "Handle": "aiki.definitions.handle",
    "HistoryEntry": "aiki.client.history",
    "ImportOutcome": "aiki.client.importing",
    "NamedCall": "aiki.client.named",
    "NamespaceSummary": "aiki.client.counts",
    "RunCount": "aiki.client.matching",
    "RunFilter": "aiki.client.matching",
    "RunStatus": "aiki.definitions.status",
    "RunView": "aiki.definitions.view",
    "Schedule": "aiki.client.schedule",
    "ScheduleInfo": "aiki.client.schedule_info",
    "SendOutcome": "aiki.client.sending",
    "SlotInfo": "aiki.client.schedule_info",
    "StorageUse": "aiki.client.storage",
    "TaskProgress": "aiki.definitions.status",
    "Unreadable": "aiki.definitions.stored",
    "When": "aiki.client.when",
    "Why": "aiki.definitions.why",
    "Worker": "aiki.worker",
    "WorkerInfo": "aiki.client.workers",
    "WorkflowInfo": "aiki.client.workflows",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'aiki' has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
