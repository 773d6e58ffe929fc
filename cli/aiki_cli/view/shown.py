"""Own all that is shown of one run: what it is, where it failed, who has tried it, and whom it has started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiki_cli.view import story
from aiki_cli.view.found import Rows
from aiki_cli.view.runs import line, page, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aiki_cli.view.documents.runs import ShownRun

_ON_PAGE: Final = 10
"""Claims and tries on a page."""


def whole(shown: ShownRun) -> Rows:
    """Return all that is known of a run."""
    return Rows([line(shown)], page=lambda: [page(shown, payload=shown.input), *_beside(shown)])


def _beside(shown: ShownRun) -> list[RenderableType | str]:
    """Return the rest of its page: where it failed, who has tried it and how that went, whom it has started."""
    parts: list[RenderableType | str] = []
    if shown.error is not None and shown.error.traceback:
        parts.append(f"\n{shown.error.traceback.rstrip()}")
    if shown.attempts:
        parts += ["\nclaims, and tries that failed", story.table(shown.attempts[-_ON_PAGE:])]
    if shown.attempts is None or len(shown.attempts) > _ON_PAGE:
        parts.append(f"more of them: aiki run history {shown.run_id}")
    if shown.newest_children:
        parts += ["\nchildren, the last first", table(shown.newest_children)]
    if shown.children > len(shown.newest_children):
        parts.append(f"{shown.children:,} in all: aiki run list --parent {shown.run_id}")
    return parts
