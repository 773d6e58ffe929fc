"""Own how the runs of a test are executed: what stays in memory, and what stands in for tasks and bodies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiki.definitions.task import Task
from aiki.definitions.workflow import Workflow
from aiki.execution import Limits

_FOREVER_SECONDS: Final = 1e9
_SLOW_SECONDS: Final = 1.0
"""A body that holds up a test's loop is nobody's loss, and machines of tests are busy."""
STAYING: Final = Limits(
    linger_seconds=_FOREVER_SECONDS, inline_retry_seconds=_FOREVER_SECONDS, slow_step_seconds=_SLOW_SECONDS
)
"""Runs stay in memory while they wait: to read a journal again costs time, and shows nothing."""
LEAVING: Final = Limits(linger_seconds=0.0, inline_retry_seconds=0.0, slow_step_seconds=_SLOW_SECONDS)
"""Whatever waits leaves memory."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How the runs of a test are executed."""

    limits: Limits
    stand_in: Callable[[Task[..., Any]], Task[..., Any]]
    """Returns what is tried in the place of a task."""
    body: Callable[[Workflow[..., Any]], Workflow[..., Any]]
    """Returns what is run in the place of a workflow."""
    replays: bool = False
    """Whether a run begins again after each outcome that it has recorded."""
    shared: Any = None
    """What tasks share."""
