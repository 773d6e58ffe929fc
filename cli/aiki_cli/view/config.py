"""Own how it is shown where commands connect, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiki_cli.view.documents.config import Config, ConfigProfile, ConfigProfiles, ConfigValue
from aiki_cli.view.found import Line, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

PROFILE_COLUMNS: Final = "name url namespace protected is_used file line"


def rows(values: Sequence[ConfigValue], *, origins: bool) -> Rows:
    """Return the settings: a line each, with who says it where that was asked for."""

    def line(one: ConfigValue) -> Line:
        return Line(one, _cells(one, origins=origins))

    return Rows(
        map(line, values),
        page=lambda: [_table(values, origins=origins)],
        document=lambda _: Config(values=values),
    )


def profiles(found: Sequence[ConfigProfile]) -> Rows:
    """Return the profiles: a line each, by their names."""

    def line(one: ConfigProfile) -> Line:
        return Line(one, [getattr(one, name) for name in PROFILE_COLUMNS.split()], one.name)

    return Rows(
        map(line, found),
        page=lambda: [_profile_table(found)] if found else [],
        document=lambda _: ConfigProfiles(profiles=found),
        asides=[] if found else ["no profiles: `profiles:` in aiki.yaml, or in your own settings, says them"],
    )


def _cells(one: ConfigValue, *, origins: bool) -> list[Any]:
    return [one.name, one.value, *([one.origin] if origins else [])]


def _table(values: Sequence[ConfigValue], *, origins: bool) -> RenderableType:
    from aiki_cli.view.drawing import columns

    shown = [[_word(cell) for cell in _cells(one, origins=origins)] for one in values]
    return columns(shown, ["NAME", "VALUE", *(["ORIGIN"] if origins else [])])


def _profile_table(found: Sequence[ConfigProfile]) -> RenderableType:
    from aiki_cli.view.drawing import columns

    shown = [
        [
            f"{'*' if one.is_used else ' '} {one.name}",
            one.url or "",
            one.namespace or "",
            "protected" if one.protected else "",
            f"{one.file}:{one.line}",
        ]
        for one in found
    ]
    return columns(shown, ["  NAME", "URL", "NAMESPACE", "", "FILE"])


def _word(cell: str | bool | None) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return cell or ""
