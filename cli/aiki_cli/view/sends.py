"""Own how it is shown what became of an event that was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiki_cli import exits
from aiki_cli.view.found import End, Line

if TYPE_CHECKING:
    from aiki import AikiError, SendOutcome

_WORDS: Final = {"sent": "sent", "repeated": "had it already", "refused": "refused"}


def line(outcome: SendOutcome, *, alone: bool) -> Line:
    """Return the outcome of one of several runs as a line of its own; of the only one its id, and no error."""
    error = outcome.error
    told = None if error is None else {"type": error.code, "message": error.message}
    value = {"id": outcome.run_id, "outcome": word(outcome), "error": told}
    if not alone:
        return Line(value, [outcome.run_id, word(outcome), error and error.message], _id(outcome))
    return Line(value, _id(outcome), _id(outcome))


def word(outcome: SendOutcome) -> str:
    """Return the word for an outcome."""
    if outcome.error is not None:
        return "refused"
    return "repeated" if outcome.repeated else "sent"


@dataclass
class Tally:
    """What became of the event so far."""

    said: str | None
    """What a person should know of it."""
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[AikiError] = field(default_factory=list)

    def add(self, outcomes: Sequence[SendOutcome]) -> None:
        """Count what has been answered."""
        self.counts.update(map(word, outcomes))
        self.errors += (outcome.error for outcome in outcomes if outcome.error is not None)

    def end(self, *, alone: bool) -> End:
        """Return what it comes to: the highest code of a refusal."""
        code = max((exits.BY_ERROR_CODE.get(error.code, exits.BUG) for error in self.errors), default=exits.OK)
        if alone:
            return End(code, error=self.errors[0] if self.errors else None, said=None if self.errors else self.said)
        counted = ", ".join(f"{self.counts[name]:,} {words}" for name, words in _WORDS.items() if self.counts[name])
        problem = f"error: {len(self.errors):,} runs were not sent the event" if self.errors else None
        return End(code, problem=problem, said="\n".join(filter(None, [counted, self.said])) or None)


def _id(outcome: SendOutcome) -> str | None:
    return outcome.run_id if outcome.error is None else None
