"""Own what a live view shows of a run: `RunView`, its status with the durable calls that stand behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from aiki.core.states import State
from aiki.definitions.status import RunStatus


class CallState(StrEnum):
    """How a durable call of a run stands."""

    RUNNING = "running"
    """A try of the task runs in a worker."""
    RETRYING = "retrying"
    """A try failed, and the next one is due."""
    WAITING = "waiting"
    """A sleep, a wait for an event or a child: it is asked for, and nothing has come."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """One durable call of a run: a task, a child, a sleep, a wait, a send."""

    key: str
    """Its address in the run."""
    kind: str
    """task, child, timer, event, send, ...: as the key begins."""
    name: str
    """Of the task, the child's workflow, or the event; empty where there is none."""
    state: CallState
    attempt: int = 1
    """The try that runs, failed last, or brought the outcome."""
    started_at: datetime | None = None
    """When the first try that is known began; of what is no task, when it was asked for."""
    ended_at: datetime | None = None
    next_at: datetime | None = None
    """When the next try is due."""
    error: str | None = None
    """Of a failed try or call, `type: message` in one line."""
    fraction: float | None = None
    """How far a running try is, from 0 to 1, if it has said so."""
    message: str = ""
    run_id: str | None = None
    """The child's."""
    worker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as those see it who watch it in full: at most four times a second, and the last state always."""

    status: RunStatus
    """Its `why` is the whole sentence, if the run has not ended."""
    calls: Sequence[CallView] = ()
    """Its newest calls in the order in which they began, those without an outcome always among them."""
    done: int = 0
    """Calls of its generation that have an outcome; some of them are not among `calls`."""
    failed: int = 0
    """How many of these failed."""
    children: Mapping[State, int] = field(default_factory=dict)
    """Its children by state, as far as they are counted."""
    history_seq: int = 0
    journal_seq: int = 0
    """What it is of: all before these numbers. Whoever misses something asks for all after them."""
