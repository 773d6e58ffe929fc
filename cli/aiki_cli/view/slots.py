"""Own how it is shown what became of a schedule's slots."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from aiki_cli import exits
from aiki_cli.view.documents.schedules import Slots
from aiki_cli.view.found import End, Line, Rows
from aiki_cli.view.moments import local
from aiki_cli.view.output import is_terminal
from aiki_cli.view.runs import name_on, state_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aiki import SlotInfo

TSV_COLUMNS: Final = "slot until count kind result run_id state reason"


def rows(fired: Sequence[SlotInfo], *, said: str | None) -> Rows:
    """Return what became of slots that were fired out of turn; the exit code tells whether one was refused."""
    has_failed = any(slot.result == "failed" for slot in fired)
    return Rows(
        map(_line, fired),
        page=lambda: [table(fired)] if fired else [],
        document=lambda _: Slots(fired),
        end=End(exits.BAD_DATA if has_failed else exits.OK, said=said),
    )


def preview(name: str, slots: Sequence[SlotInfo]) -> str:
    """Return what a backfill would fire: how many slots, the first and the last."""
    first, last = (f"{local(slot.slot):%Y-%m-%d %H:%M:%S %Z}" for slot in (slots[0], slots[-1]))
    span = first if len(slots) == 1 else f"{first} to {last}"
    return f"{len(slots):,} slot{'' if len(slots) == 1 else 's'} of {name} would be fired: {span}"


def counted(slots: Sequence[SlotInfo]) -> str:
    """Return how many slots there are of each outcome."""
    counts = Counter(slot.result for slot in slots)
    return ", ".join(f"{count:,} {result}" for result, count in counts.items()) or "no slot without a run lies there"


def table(slots: Sequence[SlotInfo]) -> RenderableType:
    """Return slots for people, each with its run, or the reason why it has none."""
    from aiki_cli.view.drawing import columns, console

    width = console().width
    rows = [[_when(slot), _what(slot), name_on(width, slot.run_id or ""), _how(slot)] for slot in slots]
    return columns(rows, ["SLOT", "", "RUN", ""], last_is_cut=is_terminal(sys.stdout))


def _line(slot: SlotInfo) -> Line:
    return Line(slot, [getattr(slot, name) for name in TSV_COLUMNS.split()], slot.run_id)


def _when(slot: SlotInfo) -> str:
    first = f"{local(slot.slot):%Y-%m-%d %H:%M:%S}"
    if slot.until is None:
        return first
    last = local(slot.until)
    return (
        f"{first} to {last:%H:%M:%S}"
        if last.date() == local(slot.slot).date()
        else f"{first} to {last:%Y-%m-%d %H:%M:%S}"
    )


def _what(slot: SlotInfo) -> str:
    many = f"{slot.count:,} " if slot.count > 1 else ""
    kind = "" if slot.kind == "slot" else f" ({slot.kind})"
    return f"{many}{slot.result}{kind}"


def _how(slot: SlotInfo) -> str:
    parts = [state_text(slot.state) if slot.state else "", slot.reason]
    return "  ".join(part for part in parts if part)
