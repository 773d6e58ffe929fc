"""Own what `-m NAME` means: a name of the manifest, a package that ships a manifest, or a dotted module.

It finds modules and imports none.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiki.core.errors import ConfigError
from aiki.manifest.discovery import FILE_NAME
from aiki.manifest.format import Manifest, load


def prepare_path(manifest: Manifest | None, directory: Path) -> list[Path]:
    """Put the working directory and the manifest's `path` first on `sys.path`; return these folders in order."""
    folders = list(dict.fromkeys([directory.resolve(), *(manifest.path if manifest else ())]))
    entries = [str(folder) for folder in folders]
    sys.path[:] = entries + [entry for entry in sys.path if entry not in entries]
    importlib.invalidate_caches()
    return folders


def resolve(names: Sequence[str], manifest: Manifest | None) -> list[str]:
    """Return the dotted modules that `names` stand for, in order and once each; without names all of the manifest.

    Call `prepare_path` first. Raises ConfigError if there is nothing to serve. Whether a dotted module exists is
    seen when it is imported.
    """
    if names:
        return _once(module for name in names for module in _modules_of(name, manifest))
    if manifest is None:
        raise ConfigError(f"no module was named and no {FILE_NAME} was found", hint="aiki worker start -m myflows")
    if not manifest.modules:
        raise ConfigError(f"{manifest.file} names no modules, and none was given", hint="aiki worker start -m myflows")
    return _once(module for modules in manifest.modules.values() for module in modules)


def _modules_of(name: str, manifest: Manifest | None) -> Sequence[str]:
    if manifest and name in manifest.modules:
        return manifest.modules[name]
    if name.endswith(".py"):
        raise ConfigError(f"{name!r} is a file, and expected a module", hint=f"-m {Path(name).stem}")
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"{name!r} is neither a name of the manifest nor a dotted module such as myflows.orders")
    shipped = _shipped_manifest(name)
    if shipped is None:
        return [name]
    modules = load(shipped, packaged=True).modules
    if not modules:
        raise ConfigError(f"{shipped} names no modules")
    return [module for group in modules.values() for module in group]


def _shipped_manifest(package: str) -> Path | None:
    """Return the `aiki.yaml` beside the package's `__init__.py`, if it ships one."""
    if "." in package:
        return None  # finding a dotted name imports its parents: leave that to the import itself
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return next((Path(folder) / FILE_NAME for folder in folders or () if (Path(folder) / FILE_NAME).is_file()), None)


def _once(modules: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(modules))
