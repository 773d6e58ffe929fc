"""Own the flags by which a schedule is declared: when it fires, and how its runs are enqueued."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from aiki.client.when import CatchUp as CatchUpWord
from aiki.client.when import Overlap as OverlapWord
from aiki.definitions.options import HIGHEST_PRIORITY
from aiki_cli.words import suggestions

_WHEN: Final = "When it fires: one of the first three"
_RUN: Final = "Its runs"

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.", autocompletion=suggestions.schedules)]
Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Names of schedules.", autocompletion=suggestions.schedules)
]
Pairs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=TEXT | NAME:=JSON]...",
        help="Members of the payload; a.b=text is nested.",
        autocompletion=suggestions.payload_members,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        "-p", "--payload", metavar="JSON|@FILE|-", help="The payload; pairs override it.", rich_help_panel=_RUN
    ),
]
Cron = Annotated[
    str | None,
    typer.Option("--cron", metavar='"0 2 * * *"', help="By the calendar; @daily, too.", rich_help_panel=_WHEN),
]
Every = Annotated[str | None, typer.Option("--every", metavar="15m", help="At an interval.", rich_help_panel=_WHEN)]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="Once: 2026-11-22T21:00, local unless it says.", rich_help_panel=_WHEN),
]
Timezone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="Of a cron: Europe/Berlin; UTC.", rich_help_panel=_WHEN),
]
Anchor = Annotated[
    str | None,
    typer.Option("--anchor", metavar="TIME", help="Of an interval: a time at which it fires.", rich_help_panel=_WHEN),
]
Start = Annotated[
    str | None, typer.Option("--start", metavar="TIME", help="It fires no earlier.", rich_help_panel=_WHEN)
]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="It fires before that.", rich_help_panel=_WHEN)]
Jitter = Annotated[
    str | None, typer.Option("--jitter", metavar="30s", help="By less than that later.", rich_help_panel=_WHEN)
]
Overlap = Annotated[
    OverlapWord | None, typer.Option("--overlap", help="If a run of it still goes on; skip.", rich_help_panel=_WHEN)
]
CatchUp = Annotated[
    CatchUpWord | None,
    typer.Option("--catch-up", help="Which late slots are fired all the same; latest.", rich_help_panel=_WHEN),
]
Window = Annotated[
    str | None, typer.Option("--window", metavar="1d", help="How old these may be.", rich_help_panel=_WHEN)
]
Version = Annotated[
    str | None, typer.Option("--version", help="Needed if several are registered.", rich_help_panel=_RUN)
]
Priority = Annotated[
    int | None, typer.Option("--priority", min=-HIGHEST_PRIORITY, max=HIGHEST_PRIORITY, rich_help_panel=_RUN)
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=TEXT", help="May repeat.", rich_help_panel=_RUN)
]
RunTimeout = Annotated[
    str | None,
    typer.Option(
        "--run-timeout", metavar="1h", help="Let a run fail that has not ended by then.", rich_help_panel=_RUN
    ),
]
CancelTimeout = Annotated[
    str | None,
    typer.Option("--cancel-timeout", metavar="5m", help="How long one may take to end.", rich_help_panel=_RUN),
]
