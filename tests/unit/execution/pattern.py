"""Own what the patterns of bodies are made of: two tasks, and a table of bodies with what each returns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiki.core.retry import Retry
from aiki.definitions.task import task
from aiki.inside.workflow_run import WorkflowRun

Body = Callable[[WorkflowRun], Awaitable[Any]]
B = TypeVar("B", bound=Body)

Patterns = list[tuple[Body, Any]]


@task(retry=Retry.none())
async def nap(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    return name


@task(retry=Retry.none())
async def breaks(name: str) -> str:
    raise ValueError(name)


def returns(patterns: Patterns, expected: Any) -> Callable[[B], B]:
    """Put a body into a table with the value that it must return, whatever its run goes through."""

    def add(body: B) -> B:
        patterns.append((body, expected))
        return body

    return add
