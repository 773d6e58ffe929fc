"""Own how a command means many runs by what they are: its options, the count before, the batches after.

However many they are, few of them are held at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aiki import UsageError
from aiki_cli.words import payload, suggestions
from aiki_cli.words.states import states_of

if TYPE_CHECKING:
    from aiki import RunFilter, State
    from aiki_cli.session import Session

BATCH_RUNS: Final = 500
MANY: Final = "Many runs, by what they are"

Workflow = Annotated[
    str | None,
    typer.Option("--workflow", metavar="NAME", autocompletion=suggestions.workflow_names, rich_help_panel=MANY),
]
States = Annotated[
    list[str] | None,
    typer.Option("--state", help="May repeat.", autocompletion=suggestions.states, rich_help_panel=MANY),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=TEXT", help="May repeat; all must match.", rich_help_panel=MANY),
]
OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="1h", help="Enqueued at least so long ago.", rich_help_panel=MANY),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Do it, unasked; off a terminal they are only counted without it.", rich_help_panel=MANY
    ),
]


@dataclass(frozen=True)
class Filter:
    """What was typed of runs."""

    workflow: str | None = None
    states: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    older_than: str | None = None

    @classmethod
    def of(
        cls, workflow: str | None, states: Sequence[str] | None, labels: Sequence[str] | None, older_than: str | None
    ) -> Filter:
        """Return what the options say. Raises UsageError for a label that is none."""
        return cls(workflow, states or (), payload.labels_of(labels or ()), older_than)

    def is_meant(self, references: Sequence[str], *, command: str) -> bool:
        """Tell whether runs are meant by what they are, and not by `references`. Raises UsageError if both, or none."""
        is_given = any((self.workflow, self.states, self.labels, self.older_than))
        if is_given and references:
            raise UsageError("name runs, or filter them: not both", hint=command)
        if not is_given and not references:
            raise UsageError("no run is named", hint=command)
        return is_given

    def runs(self, otherwise: Iterable[State]) -> RunFilter:
        """Return the runs that are meant; `otherwise` are their states, if none is given. Raises UsageError."""
        from aiki import RunFilter
        from aiki.manifest import seconds

        before = None
        if self.older_than is not None:
            before = datetime.now(UTC) - timedelta(seconds=seconds(self.older_than))
        states = states_of(self.states) or list(otherwise)
        return RunFilter(workflow=self.workflow, states=states, labels=self.labels, before=before)


async def batches(
    session: Session,
    wanted: RunFilter,
    *,
    yes: bool,
    would: str,
    limit: int | None = None,
    per_second: float | None = None,
) -> AsyncGenerator[Sequence[str], None]:
    """Return the ids of the runs that are meant, some at a time. Raises UsageError with their number, without a yes.

    They are `limit` at most, and no more than `per_second` a second.
    """
    client = await session.client()
    if not yes:
        count = 0
        async for ids in client.runs.matching(wanted, limit=limit):
            count += len(ids)
        if not count:
            return in_batches([])
        await agree(session, f"{counted(count)} would be {would}", yes=yes)
    return client.runs.matching(wanted, limit=limit, per_second=per_second)


async def agree(session: Session, told: str, *, yes: bool) -> None:
    """Return if a person agrees to what would be done: by --yes, or asked on a terminal. Raises UsageError if not."""
    if not yes and not await session.out.agreed(f"{told}. Go on? [y/N] "):
        raise UsageError(f"{told}, and none was", hint="the same again with --yes")


def counted(runs: int) -> str:
    """Return so many runs in words."""
    return f"{runs:,} {'run' if runs == 1 else 'runs'}"


async def in_batches(run_ids: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
    """Yield the ids of runs that were named, some at a time."""
    for start in range(0, len(run_ids), BATCH_RUNS):
        yield run_ids[start : start + BATCH_RUNS]
