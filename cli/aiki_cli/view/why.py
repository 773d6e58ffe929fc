"""Own how it is shown why a run does not move: one sentence, what is to be known beside it, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki_cli.view.documents.runs import RunReason
from aiki_cli.view.documents.shaped import extended
from aiki_cli.view.found import Line, Rows
from aiki_cli.view.runs import state_text
from aiki_cli.view.text import lines, one_line

if TYPE_CHECKING:
    from aiki import Because, Why


def rows(why: Why) -> Rows:
    """Return why a run does not move; for scripts a line for each reason, for people a page."""
    last = why.path[-1]
    reasons = [*((why.run_id, one) for one in why.reasons), *((last, one) for one in why.leaf)]
    return Rows(
        [_line(run_id, one) for run_id, one in reasons],
        page=lambda: [_page(why)],
        document=lambda _: why,
        asides=[f"hint: {why.hint}"] if why.hint else [],
    )


def _line(run_id: str, one: Because) -> Line:
    return Line(extended(RunReason, one, id=run_id), [run_id, one.kind, one.sentence], run_id)


def _page(why: Why) -> str:
    beside = [f"  - it {one.sentence}" for one in why.reasons[1:] if one.sentence not in why.sentence]
    beside += [f"  - run {why.path[-1]} {one.sentence}" for one in why.leaf[1:] if one.sentence not in why.sentence]
    path = [f"  - they wait for one another: {' > '.join(why.path)}"] if len(why.path) > 2 else []
    stop = "" if "\n" in why.sentence else "."  # a diff ends by itself
    said = lines("\n".join([f"It {why.sentence}{stop}", *beside, *path]))
    return f"{one_line(f'{state_text(why.state)}  {why.workflow} {why.version}  {why.run_id}')}\n{said}"
