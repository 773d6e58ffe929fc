"""Own which workflows a worker serves: one object per (name, version)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from aiki.core.errors import UsageError
from aiki.core.frames import written_at
from aiki.definitions.workflow import Workflow


class Registry:
    """The workflows of a worker by (name, version)."""

    def __init__(
        self,
        workflows: Iterable[Workflow[..., Any]] = (),
        *,
        on_new: Callable[[Workflow[..., Any]], None] | None = None,
    ) -> None:
        """`on_new` is told of each workflow that is added later."""
        self._workflows: dict[tuple[str, str], Workflow[..., Any]] = {}
        self._on_new: Callable[[Workflow[..., Any]], None] | None = None
        for workflow in workflows:
            self.add(workflow)
        self._on_new = on_new

    def __iter__(self) -> Iterator[Workflow[..., Any]]:
        return iter(self._workflows.values())

    def __len__(self) -> int:
        return len(self._workflows)

    def add(self, workflow: Workflow[..., Any], /) -> Self:
        """Serve `workflow`, and return the registry. Adding it again, or with other options, changes nothing.

        Raises UsageError if another function has its name and version; the message names both places.
        """
        known = len(self._workflows)
        first = self._workflows.setdefault((workflow.name, workflow.version), workflow)
        if len(self._workflows) > known:
            if self._on_new is not None:
                self._on_new(workflow)
        elif first.fn is not workflow.fn:
            raise UsageError(
                f"two workflows are {workflow.name!r} version {workflow.version!r}: {written_at(first.fn)} and "
                f"{written_at(workflow.fn)}; give one another name or version"
            )
        return self

    def get(self, name: str, version: str) -> Workflow[..., Any] | None:
        """Return the workflow of a route, or None if it is not served."""
        return self._workflows.get((name, version))
