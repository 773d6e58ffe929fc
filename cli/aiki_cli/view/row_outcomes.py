"""Own how a row of a file is shown once its run has ended, or once it was refused."""

from __future__ import annotations

from dataclasses import dataclass

from aiki import AikiError
from aiki_cli.view.documents.enqueued import RowOutcome
from aiki_cli.view.documents.errors import OutcomeError
from aiki_cli.view.found import Line
from aiki_cli.view.outcomes import said, told


@dataclass(frozen=True, slots=True)
class EndedRow:
    """A row with its run, and what came of that: its result, or an error; without a run the error that refused it."""

    line: int
    key: str | None
    run_id: str | None
    created: bool
    result: object


def line(row: EndedRow) -> Line:
    """Return the row as a line; its cells are line, key, id, outcome, and the result or the error."""
    value = _outcome(row)
    return Line(value, [row.line, row.key, row.run_id, value.outcome, said(row.result)], row.run_id)


def _outcome(row: EndedRow) -> RowOutcome:
    if row.run_id is None:
        assert isinstance(row.result, AikiError)
        error = OutcomeError(row.result.code, row.result.message)
        return RowOutcome(row.line, row.key, None, created=False, outcome="refused", error=error)
    run = told(row.run_id, row.result)
    return RowOutcome(row.line, row.key, run.id, row.created, run.outcome, run.result, run.error)
