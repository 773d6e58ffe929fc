"""Own what is known of a workflow without running it: what it takes, the tasks that it uses, where it is written."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiki.definitions.lookups import is_a, looked_through
from aiki.definitions.task import Task
from aiki.definitions.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Entry:
    """A workflow as a catalogue lists it."""

    name: str
    version: str
    parameters: Mapping[str, Any]
    """The JSON Schema of its payload."""
    tasks: tuple[str, ...]
    """Those that the body, and what it calls of its module itself, name; what they find otherwise is not seen."""
    events: tuple[str, ...] | None
    """Those that it takes; None if it takes any."""
    file: str
    line: int


def entry_of(workflow: Workflow[..., Any]) -> Entry:
    """Return what is known of a workflow. Raises UsageError if its annotations cannot be read."""
    file, line = place_of(workflow)
    return Entry(
        workflow.name,
        workflow.version,
        workflow.parameters.schema(),
        _tasks(workflow),
        None if workflow.events is None else tuple(event.name for event in workflow.events),
        file,
        line,
    )


def place_of(workflow: Workflow[..., Any]) -> tuple[str, int]:
    """Return the file and the line at which the workflow's function begins."""
    code = inspect.unwrap(workflow.fn).__code__
    return code.co_filename, code.co_firstlineno


def _tasks(workflow: Workflow[..., Any]) -> tuple[str, ...]:
    found = (one.value for _, each in looked_through(workflow.fn, _is_task) for one in each if _is_task(one.value))
    return tuple(dict.fromkeys(task.name for task in found))


def _is_task(value: Any) -> bool:
    return is_a(Task, value)
