"""Own which workflows a test's environment runs, and how one is found that nobody has named to it.

No module of workflows is registered anywhere when it is imported. So what a test enqueues by `env.enqueue` is known;
and a child, or what goes through the client, is looked for where it is named: in the modules of the workflows that are
known, and in those of the code that asks for it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType, ModuleType
from typing import Any, Final
from weakref import WeakSet

from aiki.core.errors import UsageError
from aiki.definitions import bodies
from aiki.definitions.registry import Registry
from aiki.definitions.workflow import Workflow

_looked_through: Final[WeakSet[Callable[..., Any]]] = WeakSet()


class Served:
    """The workflows that are known, by route."""

    def __init__(self, workflows: Iterable[Workflow[..., Any]]) -> None:
        self.registry = Registry(on_new=_look_through)
        for workflow in workflows:
            self.registry.add(workflow)

    def find(self, name: str, version: str) -> Workflow[..., Any] | None:
        """Return the workflow of a route; None if it is named neither by those that are known nor by who calls this."""
        known = self.registry.get(name, version)
        if known is not None:
            return known
        for workflow in self.find_all(name):
            if workflow.version == version:
                self.registry.add(workflow)
                return workflow
        return None

    def find_all(self, name: str) -> list[Workflow[..., Any]]:
        """Return the workflows of a name that are named there, of whatever version."""
        return [workflow for workflow in self._named() if workflow.name == name]

    def require(self, name: str, version: str) -> Workflow[..., Any]:
        """Return the workflow of a route. Raises UsageError if it is not found."""
        found = self.find(name, version)
        if found is None:
            raise UsageError(
                f"this TestEnv knows no workflow {name!r} version {version!r}, and nothing that calls it names it",
                hint=f"TestEnv(workflows=[{name.replace('-', '_')}, ...])",
            )
        return found

    def _named(self) -> Iterator[Workflow[..., Any]]:
        for workflow in list(self.registry):
            yield from _in_scope(workflow.fn.__globals__)
            yield from _in_scope(_closure(workflow))
        for frame in _frames():
            yield from _in_scope(frame.f_locals)
            yield from _in_scope(frame.f_globals)


def _look_through(workflow: Workflow[..., Any]) -> None:
    """Warn, once in a process, of what a body reads that is another on replay: as a worker does."""
    if workflow.fn not in _looked_through:
        bodies.warn(workflow.name, workflow.fn)
        _looked_through.add(workflow.fn)


def _frames() -> Iterator[FrameType]:
    """Yield the frames of who asks, and those of all tasks of the loop: who asks may wait for another to do so."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented, and the only way to see who asks
    while frame is not None:
        yield frame
        frame = frame.f_back
    for task in asyncio.all_tasks():
        here: Any = task.get_coro()
        while isinstance(inside := getattr(here, "cr_frame", None), FrameType):
            yield inside
            here = here.cr_await


def _in_scope(names: Mapping[str, Any]) -> Iterator[Workflow[..., Any]]:
    """Yield the workflows that are named there, and in the modules that are named there."""
    for value in list(names.values()):
        # By its type: `isinstance` asks an object for its class, and what stands for another may raise there.
        if issubclass(type(value), Workflow):
            yield value
        elif issubclass(type(value), ModuleType):
            yield from (one for one in list(vars(value).values()) if issubclass(type(one), Workflow))


def _closure(workflow: Workflow[..., Any]) -> dict[str, Any]:
    cells = zip(workflow.fn.__code__.co_freevars, workflow.fn.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not bound yet
    return found
