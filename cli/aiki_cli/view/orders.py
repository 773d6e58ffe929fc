"""Own how it is shown what has come of an order to runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from aiki import AikiError
from aiki_cli.view import runs
from aiki_cli.view.documents.runs import RefusedRun, Runs
from aiki_cli.view.found import End, Line, Rows
from aiki_cli.view.runs import TSV_COLUMNS, state_text
from aiki_cli.view.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiki import RunStatus

    Outcome: TypeAlias = tuple[str, RunStatus | AikiError]
    """A run's id with how it is since, or why it does not obey."""


def moved(outcomes: Sequence[Outcome], *, said: str | None) -> Rows:
    """Return runs that were named, in a few words each for people; the exit code is the highest."""
    counted = tally(said)
    for outcome in outcomes:
        counted.add(*counts(outcome))
    return Rows(
        [line(outcome) for outcome in outcomes],
        page=lambda: [_words(run) for _, run in outcomes],
        document=lambda _: _told(outcomes[0]) if len(outcomes) == 1 else Runs([_told(one) for one in outcomes]),
        end=End(counted.code, said=said),
    )


def line(outcome: Outcome) -> Line:
    """Return what has come of it as a line."""
    run_id, run = outcome
    if not isinstance(run, AikiError):
        return runs.line(run)
    return Line(RefusedRun(run_id, run), [run_id, "", *[""] * (len(TSV_COLUMNS.split()) - 3), run.message])


def tally(said: str | None) -> Tally:
    """Return a count of outcomes, with what a person should know of them."""
    return Tally(said, failed="did not obey")


def counts(outcome: Outcome) -> tuple[str, AikiError | None]:
    """Return as what an outcome counts."""
    _, run = outcome
    return ("refused", run) if isinstance(run, AikiError) else (str(run.state), None)


def _told(outcome: Outcome) -> RunStatus | RefusedRun:
    run_id, run = outcome
    return RefusedRun(run_id, run) if isinstance(run, AikiError) else run


def _words(run: RunStatus | AikiError) -> str:
    if isinstance(run, AikiError):
        return run.message
    to_be = f"  ({run.why})" if run.state in {"running", "queued"} and run.why else ""
    return f"{state_text(run.state)}  {run.workflow} {run.version}  {run.run_id}{to_be}"
