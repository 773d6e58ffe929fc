"""Own how the next firings of a schedule are shown: in its own zone, and in that of who looks."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from aiki_cli.view.documents.schedules import Firing, Firings
from aiki_cli.view.found import Line, Rows
from aiki_cli.view.moments import distance, local, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

TSV_COLUMNS: Final = "slot fires_at"


def rows(upcoming: Sequence[tuple[datetime, datetime]], timezone: str) -> Rows:
    """Return firings to come: a line each, whose id is the slot."""
    return Rows(
        [Line(Firing(slot, at), [utc(slot), utc(at)], utc(slot)) for slot, at in upcoming],
        page=lambda: [table(upcoming, timezone, datetime.now(UTC))] if upcoming else [],
        document=lambda _: Firings([Firing(*one) for one in upcoming]),
        asides=[] if upcoming else ["it fires no more"],
    )


def table(upcoming: Sequence[tuple[datetime, datetime]], timezone: str, now: datetime) -> RenderableType:
    """Return firings for people; the local time stands beside that of the zone only where they differ."""
    from aiki_cli.view.drawing import columns

    zone = _zone(timezone)
    shown = [[_told(slot.astimezone(zone)), _told(local(slot)), distance(at, now)] for slot, at in upcoming]
    if all(there == here for there, here, _ in shown):
        return columns([[there, left] for there, _, left in shown], ["NEXT", ""])
    return columns(shown, ["NEXT", "HERE", ""])


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _zone(name: str) -> tzinfo:
    """Return the zone, or UTC if this machine knows none of that name."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return UTC
