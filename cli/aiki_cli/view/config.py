"""Own how it is shown where commands connect, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiki_cli.view.documents.config import Config, ConfigProfile, ConfigProfiles, ConfigValue
from aiki_cli.view.found import Line, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

PROFILE_COLUMNS: Final = "name url namespace protected is_used file line"
_NAME_WIDTH: Final = 15


def rows(values: Sequence[ConfigValue], *, origins: bool) -> Rows:
    """Return the settings: a line each, with who says it where that was asked for."""

    def line(one: ConfigValue) -> Line:
        return Line(one, [one.name, one.value, *([one.origin] if origins else [])])

    return Rows(
        map(line, values),
        page=lambda: [drawn for one in values for drawn in _drawn(one, origins=origins)],
        document=lambda _: Config(values=values),
    )


def profiles(found: Sequence[ConfigProfile]) -> Rows:
    """Return the profiles: a line each, by their names."""

    def line(one: ConfigProfile) -> Line:
        return Line(one, [getattr(one, name) for name in PROFILE_COLUMNS.split()], one.name)

    return Rows(
        map(line, found),
        page=lambda: [drawn for one in found for drawn in _drawn_profile(one)],
        document=lambda _: ConfigProfiles(profiles=found),
        asides=[] if found else ["no profiles: `profiles:` in aiki.yaml, or in your own settings, says them"],
    )


def _drawn(one: ConfigValue, *, origins: bool) -> list[str]:
    """Return a line of the value, and one of who says it: paths are long, and the screen may be narrow."""
    said = [f"    from {one.origin}"] if origins and one.source != "default" else []
    return [f"{one.name:{_NAME_WIDTH}}  {_word(one.value)}".rstrip(), *said]


def _drawn_profile(one: ConfigProfile) -> list[str]:
    namespace = f"namespace {one.namespace}" if one.namespace else ""
    marks = [one.url or "", namespace, "protected" if one.protected else "", "(used here)" if one.is_used else ""]
    return ["  ".join([one.name, *filter(None, marks)]), f"  {one.file}:{one.line}"]


def _word(cell: str | bool | None) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return cell or "-"
