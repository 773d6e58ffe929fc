"""Own where the manifest is found: the file that was named, `AIKI_MANIFEST`, then `aiki.yaml` upward."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aiki.manifest.format import Manifest, parse

FILE_NAME: Final = "aiki.yaml"


def find(named: Path | None, environment: Mapping[str, str], directory: Path) -> Path | None:
    """Return the manifest's file, or None if none was named and no folder from `directory` upward holds one."""
    if named is not None:
        return named
    if from_environment := environment.get("AIKI_MANIFEST"):
        return Path(from_environment)
    here = directory.resolve()
    return next((folder / FILE_NAME for folder in (here, *here.parents) if (folder / FILE_NAME).is_file()), None)


def load(file: Path, *, packaged: bool = False) -> Manifest:
    """Read and check `file`. Raises ConfigError if it cannot be read or is wrong."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the manifest {file} ({error.strerror})") from error
    return parse(raw, file, packaged=packaged)
