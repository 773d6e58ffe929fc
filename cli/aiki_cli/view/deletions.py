"""Own how it is shown what has become of runs that were to be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from aiki import AikiError
from aiki_cli.view.documents.runs import UndeletedRun
from aiki_cli.view.found import Line
from aiki_cli.view.tally import Tally

if TYPE_CHECKING:
    from aiki.client.deleting import DeletedRun

    Outcome: TypeAlias = tuple[str, DeletedRun | AikiError]
    """A run's id with what has become of it."""


_GONE: Final = "it was not there any more"


def line(outcome: Outcome) -> Line:
    """Return it as a line; one that stays has no id, since ids are those that are gone."""
    run_id, one = outcome
    if isinstance(one, AikiError):
        return Line(UndeletedRun(run_id, one), [run_id, 0, one.message])
    return Line(one, [run_id, one.runs, "" if one.runs else _GONE], run_id)


def tally() -> Tally:
    """Return a count of outcomes, with what a person should know of them."""
    return Tally(None, failed="stay", words={"refused": "stay"})


def counts(outcome: Outcome) -> tuple[str, AikiError | None]:
    """Return as what an outcome counts."""
    _, one = outcome
    return ("refused", one) if isinstance(one, AikiError) else ("deleted", None)
