"""The shape of each request and reply between clients, workers and the daemon.

A request names its operation (`op`) and the type of its reply, so that a caller gets a typed answer:
`await transport.call(Status([run_id]))` is a `StatusReply`. Times are microseconds since the epoch, UTC, of
the database's clock. A payload is `msgspec.Raw`: the daemon stores its bytes and never parses them.
Journal entries travel as arrays, because they are most of the bytes.
"""

from __future__ import annotations

from typing import Any

from aiki.wire.messages.base import NONE, NULL, Attempt, Request
from aiki.wire.messages.handoffs import HandOver, Park, Parked, Push
from aiki.wire.messages.options import NO_OPTIONS, RunOptions
from aiki.wire.messages.runs import (
    Enqueue,
    Enqueued,
    EnqueueReply,
    Find,
    FindReply,
    History,
    HistoryItem,
    HistoryReply,
    Input,
    InputReply,
    ListReply,
    ListRuns,
    NewRun,
    Refusal,
    Resume,
    ResumeReply,
    Route,
    RunNews,
    RunStatus,
    Status,
    StatusReply,
    Summary,
    SummaryReply,
    SummaryRow,
    Watch,
    Workflows,
    WorkflowsReply,
)
from aiki.wire.messages.workers import (
    Claim,
    Claimed,
    ClaimReply,
    CloseSession,
    End,
    Entry,
    Failure,
    Fence,
    OpenSession,
    Page,
    PageReply,
    Record,
    Recorded,
    RecordReply,
    RenewSession,
    SessionReply,
    Unit,
)

__all__ = [
    "NONE",
    "NO_OPTIONS",
    "NULL",
    "REQUESTS",
    "Attempt",
    "Claim",
    "ClaimReply",
    "Claimed",
    "CloseSession",
    "End",
    "Enqueue",
    "EnqueueReply",
    "Enqueued",
    "Entry",
    "Failure",
    "Fence",
    "Find",
    "FindReply",
    "HandOver",
    "History",
    "HistoryItem",
    "HistoryReply",
    "Input",
    "InputReply",
    "ListReply",
    "ListRuns",
    "NewRun",
    "OpenSession",
    "Page",
    "PageReply",
    "Park",
    "Parked",
    "Push",
    "Record",
    "RecordReply",
    "Recorded",
    "Refusal",
    "RenewSession",
    "Request",
    "Resume",
    "ResumeReply",
    "Route",
    "RunNews",
    "RunOptions",
    "RunStatus",
    "SessionReply",
    "Status",
    "StatusReply",
    "Summary",
    "SummaryReply",
    "SummaryRow",
    "Unit",
    "Watch",
    "Workflows",
    "WorkflowsReply",
]

REQUESTS: dict[str, type[Request[Any]]] = {
    kind.op: kind
    for kind in (
        Enqueue,
        Status,
        Watch,
        Find,
        ListRuns,
        History,
        Input,
        Resume,
        Summary,
        Workflows,
        OpenSession,
        RenewSession,
        CloseSession,
        Claim,
        Record,
        Page,
    )
}
"""All operations by name."""
