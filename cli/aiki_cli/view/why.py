"""Own how it is shown why a run does not move: one sentence, what is to be known beside it, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiki_cli.view.found import Line, Rows
from aiki_cli.view.moments import utc
from aiki_cli.view.runs import state_text
from aiki_cli.view.text import lines, one_line

if TYPE_CHECKING:
    from aiki import Because, Why


def to_object(why: Why) -> dict[str, Any]:
    """Return all of it as a JSON object."""
    return {
        "id": why.run_id,
        "workflow": why.workflow,
        "version": why.version,
        "state": str(why.state),
        "sentence": why.sentence,
        "since": utc(why.since),
        "hint": why.hint,
        "path": [*why.path],
        "reasons": [_because(one) for one in why.reasons],
        "leaf": [_because(one) for one in why.leaf],
    }


def rows(why: Why) -> Rows:
    """Return why a run does not move; for scripts a line for each reason, for people a page."""
    last = why.path[-1]
    reasons = [*((why.run_id, one) for one in why.reasons), *((last, one) for one in why.leaf)]
    return Rows(
        [Line(_line(run_id, one), [run_id, one.kind, one.sentence], run_id) for run_id, one in reasons],
        page=lambda: [_page(why)],
        document=lambda _: to_object(why),
        asides=[f"hint: {why.hint}"] if why.hint else [],
    )


def _because(one: Because) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "sentence": one.sentence,
        "since": utc(one.since),
        "until": utc(one.until),
        "run": one.run_id,
        "facts": {**one.facts},
    }


def _line(run_id: str, one: Because) -> dict[str, Any]:
    return {"id": run_id, **_because(one)}


def _page(why: Why) -> str:
    beside = [f"  - it {one.sentence}" for one in why.reasons[1:] if one.sentence not in why.sentence]
    beside += [f"  - run {why.path[-1]} {one.sentence}" for one in why.leaf[1:] if one.sentence not in why.sentence]
    path = [f"  - they wait for one another: {' > '.join(why.path)}"] if len(why.path) > 2 else []
    stop = "" if "\n" in why.sentence else "."  # a diff ends by itself
    said = lines("\n".join([f"It {why.sentence}{stop}", *beside, *path]))
    return f"{one_line(f'{state_text(why.state)}  {why.workflow} {why.version}  {why.run_id}')}\n{said}"
