"""Own how it is shown what became of an event that was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aiki_cli.view.documents.runs import EventOutcome
from aiki_cli.view.found import Line
from aiki_cli.view.tally import Tally

if TYPE_CHECKING:
    from aiki import SendOutcome


def line(outcome: SendOutcome, *, alone: bool) -> Line:
    """Return the outcome of one of several runs as a line of its own; of the only one its id, and no error."""
    error = outcome.error
    value = EventOutcome(outcome.run_id, word(outcome), error)
    if not alone:
        return Line(value, [outcome.run_id, word(outcome), error and error.message], _id(outcome))
    return Line(value, _id(outcome), _id(outcome))


def word(outcome: SendOutcome) -> Literal["sent", "repeated", "refused"]:
    """Return the word for an outcome."""
    if outcome.error is not None:
        return "refused"
    return "repeated" if outcome.repeated else "sent"


def tally(said: str | None) -> Tally:
    """Return a count of outcomes, with what a person should know of them."""
    return Tally(said, failed="were not sent the event", words={"repeated": "had it already"})


def _id(outcome: SendOutcome) -> str | None:
    return outcome.run_id if outcome.error is None else None
