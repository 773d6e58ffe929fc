"""Own zone data that tests make: a zone by its name that has the clocks of another."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from aiki.rules import zones


@contextmanager
def zone_data(folder: Path, version: str, clocks: Mapping[str, str]) -> Iterator[None]:
    """Go by data of this version, in which zones have the clocks of others; what it lacks is as ever."""
    for name, other in clocks.items():
        file = folder / version / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(files("tzdata").joinpath("zoneinfo", other).read_bytes())
    (folder / version / "tzdata.zi").write_text(f"# version {version}\n")
    before = zoneinfo.TZPATH
    _go_by([str(folder / version), *before])
    try:
        yield
    finally:
        _go_by(before)


def _go_by(path: list[str] | tuple[str, ...]) -> None:
    """Read zones from there, and forget those that were read: a process that is started anew would."""
    zoneinfo.reset_tzpath(path)
    zoneinfo.ZoneInfo.clear_cache()
    for known in (zones.zone, zones.zones, zones.steady):
        known.cache_clear()
