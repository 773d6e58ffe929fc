"""Own which workflows a worker serves: one object per (name, version), collected from modules or added in code.

Importing a module makes workflow objects and nothing else, so what is served is exactly what stands at module level
in the modules that were named. It must never connect, and never run a workflow.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from aiki.core.errors import ConfigError, UsageError
from aiki.core.frames import report, written_at
from aiki.core.near import nearest
from aiki.definitions.workflow import Workflow
from aiki.process.imports import first_folders, hiding


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


def collect(modules: Sequence[str]) -> Registry:
    """Import `modules` (dotted names) and return the workflows that stand at their module level.

    Raises ConfigError if a module cannot be imported (with the user's own traceback) or holds no workflow, and if two
    different workflows share name and version.
    """
    registry = Registry()
    for name in modules:
        found = workflows_of(import_module(name))
        if not found:
            raise _empty(sys.modules[name])
        try:
            for workflow in found:
                registry.add(workflow)
        except UsageError as error:
            raise ConfigError(error.message) from error
    return registry


def workflows_of(module: ModuleType) -> list[Workflow[..., Any]]:
    """Return the workflow objects at module level, in order of definition; names for one object count once."""
    found = {id(value): value for value in vars(module).values() if isinstance(value, Workflow)}
    return list(found.values())


def import_module(name: str) -> ModuleType:
    """Import the user's module `name`.

    Raises ConfigError, whatever the module's own code raises; its message ends with the traceback from the user's
    first frame on.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            looked = ", ".join(first_folders() or sys.path[:2])
            raise ConfigError(
                f"no module named {error.name!r} (looked first in {looked})",
                hint=_meant(error.name) or "is it installed, or is `path` missing in aiki.yaml?",
            ) from error
        raise _import_error(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_error(name, error) from error


def _meant(missing: str) -> str | None:
    """Return the option that names a module which is there, and may be meant by a name that is not."""
    parent, dot, name = missing.rpartition(".")
    places = getattr(sys.modules.get(parent), "__path__", ()) if dot else first_folders() or sys.path[:2]
    near = nearest(name, (info.name for info in pkgutil.iter_modules(places)))
    return f"-m {parent}{dot}{near}" if near else None


def _import_error(name: str, error: BaseException) -> ConfigError:
    hint = f"rename {' and '.join(hidden)}: Python's own code imports it as its own" if (hidden := hiding()) else None
    return ConfigError(f"cannot import {name!r}\n{user_traceback(error).rstrip()}", hint=hint)


def user_traceback(error: BaseException) -> str:
    """Return the traceback's text from the user's first frame on; the error alone if it went through none."""
    shown = report(error)
    lines = shown.format()
    return "".join(lines if shown.stack else (line for line in lines if not line.startswith("Traceback ")))


def _empty(module: ModuleType) -> ConfigError:
    where = module.__file__ or "a namespace package"
    parts = [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    hint = (
        f"-m {module.__name__}.{parts[0]}"
        if parts
        else f"decorate an async function in {Path(where).name} with @workflow"
    )
    return ConfigError(f"module {module.__name__!r} ({where}) holds no workflow at its top level", hint=hint)
