"""Own how verdicts are shown: each as JSON and as a line; for people those alike together, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiki_cli import exits
from aiki_cli.view.documents.replayed import ReplayedRuns, RunVerdict
from aiki_cli.view.found import Drawing, End, Line, Rows
from aiki_cli.view.text import lines

if TYPE_CHECKING:
    from aiki.replay import Verdict

_FOUND: Final = ("diverges", "would go on differently", "unknown", "compatible")
"""The worst first."""
_GROUPS: Final = 30
_SAID: Final = {"diverges": "diverge"}
"""What is said of several, where it is not what is said of one."""


class Tally:
    """What was found so far; with `is_strict` all that is not compatible is a failure."""

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self._counts: Counter[str] = Counter()
        self._entries = 0

    def add(self, verdict: Verdict) -> None:
        """Count one."""
        self._counts[str(verdict.finding)] += 1
        self._entries += verdict.entries

    def end(self) -> End:
        """Return what it came to."""
        bad = {"diverges", "would go on differently", "unknown"} if self._is_strict else {"diverges"}
        failed = any(self._counts[found] for found in bad)
        return End(exits.DIVERGED if failed else exits.OK, said=str(self))

    def __str__(self) -> str:
        runs = sum(self._counts.values())
        if not runs:
            return "no run was found to replay"
        counted = ", ".join(_counted(found, self._counts[found]) for found in _FOUND if self._counts[found])
        return f"{_number(runs, 'run')}, {_number(self._entries, 'entry', 'entries')}: {counted}"

    async def rows(self, found: AsyncIterator[Verdict]) -> Rows:
        """Return all of them, as a document or a page."""
        verdicts = sorted([one async for one in found], key=_place)
        return Rows(
            [line(one) for one in verdicts],
            page=lambda: _page(verdicts),
            document=lambda _: self._document(verdicts),
            end=self.end(),
        )

    def _document(self, verdicts: Sequence[Verdict]) -> ReplayedRuns:
        return ReplayedRuns(
            runs=len(verdicts),
            entries=self._entries,
            diverges=self._counts["diverges"],
            differently=self._counts["would go on differently"],
            unknown=self._counts["unknown"],
            compatible=self._counts["compatible"],
            verdicts=[RunVerdict.of(one) for one in verdicts],
        )


def _counted(found: str, count: int) -> str:
    return f"{count:,} {found if count == 1 else _SAID.get(found, found)}"


def line(verdict: Verdict) -> Line:
    """Return one as a line; its id, if it diverges."""
    route = [verdict.workflow, verdict.version, verdict.as_version, str(verdict.state)]
    cells = [verdict.run_id, *route, str(verdict.finding), verdict.entry, _at(verdict), verdict.why]
    return Line(RunVerdict.of(verdict), cells, verdict.run_id if verdict.finding == "diverges" else None)


def _page(verdicts: Sequence[Verdict]) -> Sequence[Drawing]:
    """Return those that are not compatible, alike ones together, and of the first that diverges both sides whole."""
    from aiki_cli.view.drawing import columns

    groups: dict[tuple[object, ...], list[Verdict]] = {}
    for one in verdicts:
        groups.setdefault(_kind(one), []).append(one)
    shown = [_cells(alike) for alike in groups.values()]
    page: list[Drawing] = []
    if shown:
        page.append(columns(shown[:_GROUPS], ["VERDICT", "RUNS", "WORKFLOW", "FOR EXAMPLE", "WHERE AND WHY"]))
    if len(shown) > _GROUPS:
        page.append(f"… and {len(shown) - _GROUPS:,} more kinds; all of them: -o jsonl")
    diff = next((one.diff for one in verdicts if one.diff), "")
    if diff:
        page.append(lines(f"the first that diverges, {verdicts[0].run_id}:\n{diff}"))
    return page


def _kind(verdict: Verdict) -> tuple[object, ...]:
    """Return what verdicts have in common that are alike: of those at one line the values may differ."""
    route = verdict.finding, verdict.workflow, verdict.version, verdict.as_version
    if verdict.finding == "compatible":
        return route
    return *route, verdict.entry, verdict.place or verdict.why


def _cells(alike: Sequence[Verdict]) -> list[str]:
    first = alike[0]
    version = first.version if first.version == first.as_version else f"{first.version} as {first.as_version}"
    told = ": ".join(part for part in (_near(first), first.why) if part)
    return [str(first.finding), f"{len(alike):,}", f"{first.workflow} {version}", first.run_id, told]


def _near(verdict: Verdict) -> str | None:
    """Return its place, with a file below the working directory as it is called from there."""
    return None if verdict.place is None else str(verdict.place).removeprefix(f"{Path.cwd()}/")


def _at(verdict: Verdict) -> str | None:
    return None if verdict.place is None else str(verdict.place)


def _place(verdict: Verdict) -> tuple[object, ...]:
    return _FOUND.index(verdict.finding), verdict.workflow, verdict.version, verdict.run_id


def _number(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
