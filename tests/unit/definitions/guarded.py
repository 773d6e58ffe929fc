"""A module with mistakes in its annotations, for test_refusals: imports that exist for type checkers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiki.definitions.task import task

if TYPE_CHECKING:
    from aiki.inside.workflow_run import WorkflowRun
    from tests.unit.payload.shapes import Item
    from tests.unit.payload.shapes import Money as Cash


async def takes_item(item: Item) -> None: ...


async def returns_cash() -> Cash:
    raise NotImplementedError


async def guarded_flow(run: WorkflowRun, count: int) -> None: ...


async def takes_nothing_known(thing: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@task
async def takes_later(later: Later) -> Later:
    return later


@dataclass
class Later:
    next: Later | None = None
