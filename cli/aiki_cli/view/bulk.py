"""Own how it is shown what has come of an order to many runs: a short line of each, however many they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from aiki import AikiError
from aiki_cli.view.documents.runs import BulkOutcome, BulkWord
from aiki_cli.view.found import Line
from aiki_cli.view.tally import Tally

if TYPE_CHECKING:
    from aiki import RunStatus

    Outcome: TypeAlias = tuple[str, RunStatus | AikiError]
    """A run's id with how it is since, or why it does not obey."""

OrderName: TypeAlias = Literal["pause", "resume", "wake", "cancel", "retry", "move"]
_DONE: Final[Mapping[OrderName, BulkWord]] = {
    "pause": "paused",
    "resume": "resumed",
    "wake": "woken",
    "cancel": "cancelled",
    "retry": "retried",
    "move": "moved",
}
_STILL: Final[Mapping[OrderName, BulkWord]] = {"pause": "pausing", "cancel": "cancelling"}


def obeyed(outcome: Outcome, order: OrderName) -> BulkOutcome:
    """Return what has come of it."""
    run_id, run = outcome
    if isinstance(run, AikiError):
        return BulkOutcome(run_id, "refused", None, run.message, run.code)
    word = _DONE[order]
    if order in _STILL and run.state != word:
        word = _STILL[order]
    if order == "retry":
        return BulkOutcome(run_id, word, str(run.state), f"run {run.run_id} goes on in its place", retry=run.run_id)
    return BulkOutcome(run_id, word, str(run.state), run.why)


def line(one: BulkOutcome) -> Line:
    """Return it as a line; its cells are id, outcome, why."""
    reached = None if one.outcome == "refused" else one.retry or one.id
    return Line(one, [one.id, one.outcome, one.why], reached)


def tally() -> Tally:
    """Return a count of outcomes, with what a person should know of them."""
    return Tally(None, failed="did not obey")
