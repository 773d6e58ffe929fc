"""Own how a run's family is shown: a tree for people, one nested document, a line for each run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiki_cli.view.documents.runs import RunFamily
from aiki_cli.view.documents.shaped import extended
from aiki_cli.view.found import Rows
from aiki_cli.view.output import is_terminal
from aiki_cli.view.runs import line, name_on, state_text, summary
from aiki_cli.view.text import one_line

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from aiki import RunStatus
    from aiki.client.matching import RunCount


@dataclass(slots=True)
class Member:
    """A run and its family, as far as that is shown."""

    run: RunStatus
    is_own: bool = True
    """Else the run above has found it by its key, or has left it to its own retry."""
    family: list[Member] | None = None
    """Its children, the first started first; None if they are not looked at here."""
    earlier: Mapping[str, RunCount] = field(default_factory=dict)
    """How many it has started before these, by state; of more than are counted: in any."""


def rows(top: Member) -> Rows:
    """Return a family; as lines it is that of a list, but each run comes before its children."""
    return Rows((line(member.run) for member in _walk(top)), page=lambda: [_tree(top)], document=lambda _: _nested(top))


def _walk(member: Member) -> Iterator[Member]:
    yield member
    for child in member.family or ():
        yield from _walk(child)


def _nested(member: Member) -> RunFamily:
    is_left_out = member.family is None and member.run.children
    family = None if is_left_out else [_nested(child) for child in member.family or ()]
    return extended(RunFamily, member.run, own=member.is_own, family=family, earlier=member.earlier)


def _tree(top: Member) -> Tree:
    from rich.tree import Tree

    from aiki_cli.view.drawing import console

    width, now = console().width, datetime.now(UTC)

    def add(to: Tree, member: Member) -> None:
        if member.earlier:
            to.add(_text(f"… earlier: {_counts(member.earlier)}"))
        for child in member.family or ():
            add(to.add(_text(_label(child, width, now))), child)

    tree = Tree(_text(_label(top, width, now)))
    add(tree, top)
    return tree


def _text(label: str) -> Text:
    from rich.text import Text

    return Text(one_line(label), no_wrap=True, overflow="ellipsis" if is_terminal(sys.stdout) else "ignore")


def _label(member: Member, width: int, now: datetime) -> str:
    run = member.run
    is_left_out = member.family is None and run.children and member.is_own
    parts = [
        state_text(run.state),
        f"{run.workflow} {run.version}",
        name_on(width, run.run_id),
        "" if member.is_own else "(child of another run)",
        f"({run.children:,} children, not shown)" if is_left_out else "",
        summary(run, now),
    ]
    return "  ".join(part for part in parts if part)


def _counts(counts: Mapping[str, RunCount]) -> str:
    return ", ".join(f"{count.runs:,}{'+' if count.capped else ''} {state}" for state, count in counts.items())
