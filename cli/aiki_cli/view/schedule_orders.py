"""Own how it is shown what has come of an order to schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from aiki_cli.view.found import Line, Rows
from aiki_cli.view.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiki import AikiError

    Outcome: TypeAlias = tuple[str, AikiError | None]
    """A schedule's name, and why it does not obey, if it does not."""


def ordered(outcomes: Sequence[Outcome], done: str, *, said: str | None) -> Rows:
    """Return schedules that were named, a line each; the exit code is the highest."""
    tally = Tally(said, failed="did not obey", things="schedules")
    for _, error in outcomes:
        tally.add(done if error is None else "refused", error)
    alone = len(outcomes) == 1
    return Rows(
        [_line(outcome, done) for outcome in outcomes],
        page=lambda: [f"{name}  {done if error is None else error.message}" for name, error in outcomes],
        document=lambda values: values[0] if alone else {"schedules": values},
        end=tally.end(alone=alone),
    )


def _line(outcome: Outcome, done: str) -> Line:
    name, error = outcome
    if error is None:
        return Line({"name": name, "result": done, "error": None}, [name, done, ""], name)
    refused = {"code": error.code, "message": error.message}
    return Line({"name": name, "result": "refused", "error": refused}, [name, "refused", error.message])
