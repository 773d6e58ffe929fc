"""Own how it is shown what an apply does, or would do, to schedules, and to how long runs are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aiki.client.applying import conflict
from aiki_cli import exits
from aiki_cli.view import schedules
from aiki_cli.view.found import Drawing, End, Line, Rows

if TYPE_CHECKING:
    from aiki import ScheduleInfo
    from aiki.client.applying import Change, Plan

_DONE: Final = {
    "create": "created",
    "update": "updated",
    "pause": "paused",
    "delete": "deleted",
    "refused": "refused",
}
_PLURALS: Final = {"schedule": "schedules", "retention": "policies of retention"}
_SIGNS: Final = {"create": "+", "update": "~", "pause": "‖", "delete": "-", "refused": "!"}


def rows(plan: Plan, *, code: int = exits.OK, unserved: Sequence[ScheduleInfo] = ()) -> Rows:
    """Return the plan, done or not; `code` is the exit code, unless a change is refused.

    Of what is `unserved` people are told that no worker serves its workflow.
    """
    refused = plan.having("refused")
    said = schedules.unserved(unserved[0], others=len(unserved) - 1) if unserved else None
    return Rows(
        [_line(change, is_done=plan.is_done) for change in plan.changes],
        page=lambda: _page(plan),
        document=lambda _: plan,
        end=End(exits.CONFLICT, error=conflict(refused)) if refused else End(code, said=said),
    )


def lines(plan: Plan) -> list[str]:
    """Return the plan for people, a line for each change: what it is called, what is done, and to what of it."""
    return [_told(change, is_done=plan.is_done) for change in plan.pending]


def counted(changes: Sequence[Change]) -> str:
    """Return how many schedules, and periods of retention, would be created, updated, paused or deleted, in words."""
    told: list[str] = []
    for kind, noun in (("schedule", "schedule"), ("retention", "policy of retention")):
        words = Counter(_DONE[change.action] for change in changes if change.kind == kind)
        for word, count in words.items():
            what = f"{count:,} {noun if count == 1 else _PLURALS[kind]} would be" if noun else f"{count:,}"
            told.append(f"{what} {word}")
            noun = ""
    return " and ".join(told)


def _line(change: Change, *, is_done: bool) -> Line:
    name = _name(change)
    cells = [name, _word(change, is_done=is_done), ",".join(change.fields), change.reason]
    return Line(change, cells, name)


def _name(change: Change) -> str:
    """Return what a change is of: a schedule by its name, retention by that of the workflow, `*` for all others."""
    return change.name if change.kind == "schedule" else f"retention:{change.name}"


def _page(plan: Plan) -> Sequence[Drawing]:
    same = len(plan.changes) - len(plan.pending)
    noun = {
        (True, True): "policy of retention is",
        (True, False): "policies of retention are",
        (False, True): "schedule is",
    }
    is_retention = all(change.kind == "retention" for change in plan.changes)
    is_mixed = not is_retention and any(change.kind == "retention" for change in plan.changes)
    words = ("is" if same == 1 else "are") if is_mixed else noun.get((is_retention, same == 1), "schedules are")
    told = [f"{same:,} {words} as declared"] if same else []
    return [*lines(plan), *(told or ([] if plan.pending else ["nothing is declared, and there is nothing"]))]


def _told(change: Change, *, is_done: bool) -> str:
    why = f"  ({', '.join(filter(None, [*change.fields, change.reason]))})" if change.fields or change.reason else ""
    return f"{_SIGNS[change.action]} {_word(change, is_done=is_done):8} {_name(change)}{why}"


def _word(change: Change, *, is_done: bool) -> str:
    return _DONE.get(change.action, change.action) if is_done else change.action
