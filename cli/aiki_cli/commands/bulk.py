"""Own how an order reaches many runs that are meant by what they are: the count before, the batches after.

However many they are, few of them are held at once. What was cut off goes on where it stood when the same is typed
again: what has obeyed is no more what is meant.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeVar

import typer

from aiki import UsageError
from aiki_cli.commands.filters import LEADS as MANY
from aiki_cli.commands.filters import Labels, States, Workflow

if TYPE_CHECKING:
    from aiki import Client, RunFilter
    from aiki.client.matching import RunCount
    from aiki_cli.session import Session

__all__ = ["MANY", "Labels", "Pace", "Reach", "States", "Workflow", "Yes", "agree", "counted", "in_batches", "reach"]

BATCH_RUNS: Final = 500
SAMPLE_RUNS: Final = 5
_HOW: Final = "How they are worked through"

Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Do it, unasked; off a terminal they are only counted without it.", rich_help_panel=_HOW
    ),
]


@dataclass(frozen=True)
class Pace:
    """How many runs, and how fast."""

    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="So many at most.", rich_help_panel=_HOW)
    ] = None
    per_second: Annotated[
        float | None,
        typer.Option("--per-second", metavar="N", help="No more than so many a second.", rich_help_panel=_HOW),
    ] = None

    def check(self) -> None:
        """Raise UsageError for a pace that is none, before anything is asked."""
        if self.per_second is not None and not self.per_second > 0:
            raise UsageError(f"--per-second {self.per_second:g}: more than none")


T = TypeVar("T")
UNHURRIED: Final = Pace()


@dataclass(frozen=True)
class Reach(Generic[T]):
    """Runs that an order reaches, some at a time; or what comes of it in each."""

    things: AsyncGenerator[T, None]
    total: int | None = None
    """How many there are, if somebody sees how it gets on."""
    is_least: bool = False
    """Whether there may be more."""


async def reach(
    session: Session, client: Client, wanted: RunFilter, pace: Pace, *, yes: bool, would: str
) -> Reach[Sequence[str]]:
    """Return the runs that are meant, some at a time. Raises UsageError with their number, without a yes."""
    total: int | None = None
    is_least = False
    if not yes or session.out.talkative:
        count = await client.runs.count_matching(wanted)
        total, is_least = _within(count, pace.limit)
    if not yes:
        if not total:
            return Reach(in_batches([]))
        told = f"{_told(total, is_least=is_least)} would be {would}"
        await agree(session, told, yes=yes, such=await _sample(client, wanted, total))
    session.note_on_interrupt = "some may have obeyed; the same again goes on where it stood"
    batches = client.runs.matching(wanted, limit=pace.limit, per_second=pace.per_second)
    return Reach(batches, total or None, is_least)


def _within(count: RunCount, limit: int | None) -> tuple[int, bool]:
    """Return how many of the runs are within the limit, and whether there may be more."""
    if limit is not None and limit <= count.runs:
        return limit, False
    return count.runs, count.capped


def _told(runs: int, *, is_least: bool) -> str:
    return f"{runs:,}+ runs" if is_least else counted(runs)


async def _sample(client: Client, wanted: RunFilter, total: int) -> str:
    """Return some of the ids in words."""
    async with aclosing(client.runs.matching(wanted, limit=min(SAMPLE_RUNS, total))) as found:
        ids = [run_id async for some in found for run_id in some]
    return f"{'such as' if len(ids) < total else 'namely'} {' '.join(ids)}"


async def agree(session: Session, told: str, *, yes: bool, such: str | None = None) -> None:
    """Return if a person agrees to what would be done: by --yes, or asked on a terminal. Raises UsageError if not."""
    if yes:
        return
    if such is not None and session.out.can_ask:
        session.out.say(such)
    if not await session.out.agreed(f"{told}. Go on? [y/N] "):
        refused = UsageError(f"{told}, and none was", hint="the same again with --yes")
        if such is not None:
            refused.add_note(such)
        raise refused


def counted(runs: int) -> str:
    """Return so many runs in words."""
    return f"{runs:,} {'run' if runs == 1 else 'runs'}"


async def in_batches(run_ids: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
    """Yield the ids of runs that were named, some at a time."""
    for start in range(0, len(run_ids), BATCH_RUNS):
        yield run_ids[start : start + BATCH_RUNS]
