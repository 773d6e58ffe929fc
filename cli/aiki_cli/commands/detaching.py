"""Own what Ctrl-C, or SIGTERM, does to runs that are waited for: they go on, unless they are to be cancelled by it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aiki import AikiError

if TYPE_CHECKING:
    from aiki import Client
    from aiki_cli.session import Session

CancelOnInterrupt = Annotated[
    bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C, or SIGTERM, cancels the runs too.")
]
CANCEL_SECONDS: Final = 10.0
"""How long somebody who has pressed Ctrl-C waits for the order to be taken; a second one leaves at once."""
_BATCH_RUNS: Final = 500
_NAMED_RUNS: Final = 5
_REASON: Final = "whoever waited for it was interrupted"


def going(run_ids: Iterable[str]) -> dict[str, None]:
    """Return the runs that are waited for; whoever hears of the end of one takes it out."""
    return dict.fromkeys(run_ids)


def cancel_with(session: Session, client: Client, runs: Collection[str]) -> None:
    """Have the runs cancelled that are left when a signal comes, if that was asked for, and say what came of it."""
    if not session.cancels_on_interrupt:
        return

    async def cancel() -> None:
        wanted = list(runs)
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                session.note_on_interrupt = await _cancelled(client, wanted)
        except (AikiError, TimeoutError) as error:
            told = str(error) or f"no answer in {CANCEL_SECONDS:g} s"
            session.note_on_interrupt = f"not cancelled: {told}; try again: aiki run cancel {_named(wanted)}"

    session.on_interrupt = cancel


async def _cancelled(client: Client, wanted: Sequence[str]) -> str:
    """Cancel the runs, and return what came of it. Raises AikiError."""
    refused: dict[str, AikiError] = {}
    for first in range(0, len(wanted), _BATCH_RUNS):
        batch = wanted[first : first + _BATCH_RUNS]
        outcomes = await client.runs.cancel_batch(batch, reason=_REASON)
        refused |= {run_id: one for run_id, one in zip(batch, outcomes, strict=True) if isinstance(one, AikiError)}
    if not refused:
        return f"cancelled: {_named(wanted)}"
    told = f"cancelled: {len(wanted) - len(refused):,} of {len(wanted):,} runs; " if len(wanted) > 1 else ""
    return f"{told}not cancelled: {next(iter(refused.values()))}"


def _named(run_ids: Sequence[str]) -> str:
    return " ".join(run_ids) if len(run_ids) <= _NAMED_RUNS else f"{len(run_ids):,} runs"
