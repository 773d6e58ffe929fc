"""Own how it is shown what has come of an order to schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from aiki_cli.view.documents.schedules import ScheduleOutcome, ScheduleOutcomes
from aiki_cli.view.found import Line, Rows
from aiki_cli.view.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiki import AikiError

    Outcome: TypeAlias = tuple[str, AikiError | None]
    """A schedule's name, and why it does not obey, if it does not."""
    Done: TypeAlias = Literal["paused", "resumed", "deleted"]


def ordered(outcomes: Sequence[Outcome], done: Done, *, said: str | None) -> Rows:
    """Return schedules that were named, a line each; the exit code is the highest."""
    tally = Tally(said, failed="did not obey", things="schedules")
    for _, error in outcomes:
        tally.add(done if error is None else "refused", error)
    alone, told = len(outcomes) == 1, [_told(outcome, done) for outcome in outcomes]
    return Rows(
        [_line(outcome) for outcome in told],
        page=lambda: [f"{name}  {done if error is None else error.message}" for name, error in outcomes],
        document=lambda _: told[0] if alone else ScheduleOutcomes(told),
        end=tally.end(alone=alone),
    )


def _told(outcome: Outcome, done: Done) -> ScheduleOutcome:
    name, error = outcome
    return ScheduleOutcome(name, done if error is None else "refused", error)


def _line(outcome: ScheduleOutcome) -> Line:
    refused = outcome.error is not None
    words = outcome.error.message if outcome.error is not None else ""
    return Line(outcome, [outcome.name, outcome.result, words], None if refused else outcome.name)
