"""Own what `-m NAME` means: a name of the manifest, a package that ships a manifest, or a dotted module.

It finds modules and imports none.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiki.core.errors import ConfigError, UsageError
from aiki.core.near import nearest
from aiki.manifest.discovery import FILE_NAME
from aiki.manifest.format import Manifest, load
from aiki.process.imports import behind_pythons_own


def module_folders(manifest: Manifest | None, directory: Path) -> list[Path]:
    """Return the folders where modules are looked for first: the working directory, and the manifest's `path`."""
    return list(dict.fromkeys([directory.resolve(), *(manifest.path if manifest else ())]))


def resolve(names: Sequence[str], manifest: Manifest | None, folders: Sequence[Path]) -> list[str]:
    """Return the dotted modules that `names` stand for, in order and once each; without names all of the manifest.

    A package that ships a manifest is looked for in `folders` first. Raises ConfigError if there is nothing to serve,
    UsageError if a name stands for no module but for a program. Whether a dotted module exists is seen when it is
    imported.
    """
    if names:
        return _once(module for name in names for module in _modules_of(name, manifest, folders))
    if manifest is None:
        raise ConfigError(f"no module was named and no {FILE_NAME} was found", hint="aiki worker start -m myflows")
    if not manifest.modules:
        raise ConfigError(f"{manifest.file} names no modules, and none was given", hint="aiki worker start -m myflows")
    return _once(module for modules in manifest.modules.values() for module in modules)


def is_program(module: str) -> bool:
    """Tell whether a dotted name is that of a program: importing it would run it, or find the one that runs."""
    return "__main__" in module.split(".")


def _modules_of(name: str, manifest: Manifest | None, folders: Sequence[Path]) -> Sequence[str]:
    if manifest and name in manifest.modules:
        return manifest.modules[name]
    if name.endswith(".py"):
        raise ConfigError(f"{name!r} is a file, and expected a module", hint=f"-m {Path(name).stem}")
    if not all(part.isidentifier() for part in name.split(".")):
        there = [
            *(manifest.modules if manifest else ()),
            *(info.name for info in pkgutil.iter_modules(map(str, folders))),
        ]
        meant = nearest(name, there)
        raise ConfigError(
            f"{name!r} is neither a name of the manifest nor a dotted module such as myflows.orders",
            hint=meant and f"-m {meant}",
        )
    if is_program(name):
        raise UsageError(
            f"{name!r} is a program, and expected a module of workflows that others can import",
            hint="move the workflows into a module of their own: -m myflows",
        )
    shipped = _shipped_manifest(name, folders)
    if shipped is None:
        return [name]
    modules = load(shipped, packaged=True).modules
    if not modules:
        raise ConfigError(f"{shipped} names no modules")
    return [module for group in modules.values() for module in group]


def _shipped_manifest(package: str, folders: Sequence[Path]) -> Path | None:
    """Return the `aiki.yaml` beside the package's `__init__.py`, if it ships one."""
    if "." in package:
        return None  # finding a dotted name imports its parents: leave that to the import itself
    before = sys.path[:]
    sys.path[:] = behind_pythons_own([str(folder) for folder in folders])
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:
        return None  # it is loaded, and by no importer: what it holds is seen by those who import it
    finally:
        sys.path[:] = before
    places = [Path(place) / FILE_NAME for place in (spec and spec.submodule_search_locations) or ()]
    return next((file for file in places if file.is_file()), None)


def _once(modules: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(modules))
