"""Own where the manifest is found: the file that was named, `AIKI_MANIFEST`, then `aiki.yaml` upward.

It imports nothing of the rest: most commands find no manifest, and need not pay for a YAML parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE_NAME: Final = "aiki.yaml"


def find(named: Path | None, environment: Mapping[str, str], directory: Path) -> Path | None:
    """Return the manifest's file, or None if none was named and no folder from `directory` upward holds one."""
    if named is not None:
        return named
    if from_environment := environment.get("AIKI_MANIFEST"):
        return Path(from_environment)
    here = directory.resolve()
    return next((folder / FILE_NAME for folder in (here, *here.parents) if (folder / FILE_NAME).is_file()), None)
