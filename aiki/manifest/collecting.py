"""Own how workflow objects are found in imported modules, and what else a manifest names in the code of users.

Importing a module makes workflow objects and nothing else, so what is served is exactly what stands at module level
in the modules that were named. It must never connect, and never run a workflow.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

from aiki.core.errors import ConfigError, UsageError
from aiki.core.frames import users_traceback
from aiki.core.near import nearest
from aiki.definitions.registry import Registry
from aiki.definitions.workflow import Workflow
from aiki.process.imports import first_folders, hiding


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
    # By its type: a proxy that was asked for its class would have to find what it stands for, and may find none here.
    found = {id(value): value for value in vars(module).values() if issubclass(type(value), Workflow)}
    return list(found.values())


def load_lifespan(address: str) -> Callable[[], AbstractAsyncContextManager[Any]]:
    """Return the lifespan that `module:name` names.

    Raises ConfigError if the module cannot be imported, or nothing callable is there.
    """
    module, _, name = address.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(
            f"lifespan {address!r}: {module} has no function {name!r}",
            hint=f"define it in {module}, with @contextlib.asynccontextmanager",
        )
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] = found
    return lifespan


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
    return ConfigError(f"cannot import {name!r}\n{users_traceback(error).rstrip()}", hint=hint)


def _empty(module: ModuleType) -> ConfigError:
    where = module.__file__ or "a namespace package"
    parts = [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    hint = (
        f"-m {module.__name__}.{parts[0]}"
        if parts
        else f"decorate an async function in {Path(where).name} with @workflow"
    )
    return ConfigError(f"module {module.__name__!r} ({where}) holds no workflow at its top level", hint=hint)
