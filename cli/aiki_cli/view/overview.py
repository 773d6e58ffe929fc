"""Own the page of a namespace: what is amiss, what waits and runs, what the last minutes brought, who works. Pure.

It is laid out for any screen: where not all fits, what matters most comes first, and of the rest there is a count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from aiki import State
from aiki_cli.view.clock import elapsed
from aiki_cli.view.grid import cut, grid, needed
from aiki_cli.view.moments import span
from aiki_cli.view.runs import SIGNS
from aiki_cli.view.text import one_line

if TYPE_CHECKING:
    from aiki.client.counts import NamespaceSummary, RouteQueue, WorkflowRate, WorkflowTrouble
    from aiki.client.workers import WorkerInfo

_RUN_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST_ROWS: Final = 40
"""Of a section, where the screen sets no bound."""
_ENDED: Final = {State.COMPLETED, State.FAILED, State.CANCELLED}
_LEAST_LINES: Final = 4
"""Of a section that is cut: a blank line, its title, one row, and how many there are beside it."""
_RESTING: Final = (State.SCHEDULED, State.SLEEPING, State.WAITING, State.RETRYING, State.PAUSED)
_ORDER: Final = (
    State.RUNNING,
    State.QUEUED,
    *_RESTING,
    State.BLOCKED,
    State.COMPLETED,
    State.FAILED,
    State.CANCELLED,
)


@dataclass(frozen=True)
class _Section:
    """A part of the page: its titles, and rows of so many lines each."""

    titles: list[Text]
    rows: Sequence[list[Text]]
    noun: str
    beyond: int = 0
    """Others like its rows, of which only the number is known."""

    @property
    def lines(self) -> int:
        return 1 + len(self.titles) + sum(map(len, self.rows)) + (self.beyond > 0) if self.rows else 0

    def within(self, room: int) -> list[Text]:
        """Return the section in at most `room` lines, with a blank one before it."""
        if not self.rows or room < 1 + len(self.titles) + 1:
            return []
        page = [Text(), *self.titles]
        left = len(self.rows)
        for row in self.rows:
            is_cut = left > 1 or self.beyond > 0
            if len(page) + len(row) + is_cut > room:
                break
            page += row
            left -= 1
        if left + self.beyond:
            page.append(Text(f"… {left + self.beyond:,} more {self.noun}", style="dim"))
        return page


def lines(summary: NamespaceSummary, now: datetime, *, width: int, height: int | None) -> list[Text]:
    """Return the page in at most `height` lines; None: in as many as it takes, but for what is long beyond reading."""
    head = _head(summary, width=width)
    sections = [
        _troubles(summary, now, width=width),
        _routes(summary, now, width=width),
        _rates(summary.rates, width=width),
        _workers(summary, now, width=width),
    ]
    if height is None:
        rooms = [min(section.lines, MOST_ROWS) for section in sections]
    else:
        rooms = _rooms([section.lines for section in sections], height - len(head))
    page = list(head)
    for section, room in zip(sections, rooms, strict=True):
        page += section.within(room)
    return [_cut(line, width) for line in page[:height]]


def _rooms(needs: Sequence[int], height: int) -> list[int]:
    """Return how many lines each section gets: its least, as long as there is room, and what is left in their order."""
    rooms = [0] * len(needs)
    left = height
    for index, need in enumerate(needs):
        rooms[index] = min(need, _LEAST_LINES) if min(need, _LEAST_LINES) <= left else 0
        left -= rooms[index]
    for index, need in enumerate(needs):
        if rooms[index]:
            more = min(need - rooms[index], left)
            rooms[index] += more
            left -= more
    return rooms


def _head(summary: NamespaceSummary, *, width: int) -> list[Text]:
    """Return the line of all together: what runs and waits, and who works."""
    counts: dict[str, int] = {}
    for count in summary.counts:
        word = "waiting" if count.state in _RESTING else str(count.state)
        counts[word] = counts.get(word, 0) + count.runs
    words = [f"{counts[word]:,} {word}" for word in ("running", "queued", "waiting", "blocked") if counts.get(word)]
    slots = [worker.slots for worker in summary.sessions if worker.slots is not None]
    workers = f"{summary.workers:,} worker{'' if summary.workers == 1 else 's'}"
    if slots and len(slots) == summary.workers:
        held = sum(worker.running for worker in summary.sessions)
        workers += f" with {sum(slots):,} slots, {held:,} run{'' if held == 1 else 's'} held"
    parts = [part for part in (", ".join(words) if summary.counts else "no runs yet", workers) if part]
    whole = "  ".join(parts)
    fitting = [whole] if cell_len(whole) <= width else parts
    hint = [] if summary.workers else [Text(cut("    aiki worker start -m MODULE", width), style="dim")]
    return [*(Text(cut(part, width), style="bold") for part in fitting), *hint]


def _troubles(summary: NamespaceSummary, now: datetime, *, width: int) -> _Section:
    """Return what a person should look at first, each with what to type."""
    unserved = [queue for queue in summary.queues if queue.queued and not queue.workers]
    rows = [_trouble(trouble, now, width=width) for trouble in summary.troubles if trouble.state == State.BLOCKED]
    rows += [_unserved(queue, now) for queue in unserved]
    rows += [_trouble(trouble, now, width=width) for trouble in summary.troubles if trouble.state != State.BLOCKED]
    return _Section([], [[_cut(line, width) for line in row] for row in rows], "in trouble")


def _trouble(trouble: WorkflowTrouble, now: datetime, *, width: int) -> list[Text]:
    sign, style = SIGNS[trouble.state]
    line = Text.assemble(
        (f"{sign} {one_line(f'{trouble.workflow} {trouble.version}')}", f"bold {style}"),
        (f"  {trouble.runs:,} {trouble.state}  ", style),
        one_line(trouble.error),
    )
    if not _RUN_ID.fullmatch(trouble.run_id):  # what is to be pasted is ours alone
        return [line]
    command = f"    aiki {'why' if trouble.state == State.BLOCKED else 'run show'} {trouble.run_id}"
    dated = f"{command}  {elapsed(trouble.at, None, now)} ago"
    return [line, Text(dated if cell_len(dated) <= width else command, style="dim")]


def _unserved(queue: RouteQueue, now: datetime) -> list[Text]:
    oldest = f", the oldest for {elapsed(queue.oldest_at, None, now)}" if queue.oldest_at else ""
    line = Text.assemble(
        (f"! {one_line(f'{queue.workflow} {queue.version}')}", "bold red"),
        (f"  no worker serves it: {_count(queue.queued, capped=queue.capped)} queued{oldest}", "red"),
    )
    return [line, Text("    aiki worker start -m MODULE", style="dim")]


def _routes(summary: NamespaceSummary, now: datetime, *, width: int) -> _Section:
    """Return how many runs of each route are in which state; with less detail where the screen is narrow."""
    counts: dict[tuple[str, str], dict[State, tuple[int, bool]]] = {}
    for count in summary.counts:
        counts.setdefault((count.workflow, count.version), {})[count.state] = (count.runs, count.capped)
    queues = {(queue.workflow, queue.version): queue for queue in summary.queues}
    present = [state for state in _ORDER if any(state in of for of in counts.values())]
    columns: list[tuple[str, tuple[State, ...]]] = [(state.upper(), (state,)) for state in present]
    folded = [one for one in columns if one[1][0] not in _RESTING]
    if any(state in _RESTING for state in present):
        folded.insert(sum(one[1][0] in {State.RUNNING, State.QUEUED} for one in folded), ("WAITING", _RESTING))
    few = [one for one in folded if one[0] not in {"BLOCKED", "CANCELLED", "COMPLETED"}]
    titles, rows = [""], [[""]]
    for chosen in (columns, folded, few):
        titles, rows = _route_rows(chosen, counts, queues, now)
        if needed(titles, rows) <= width:
            break
    return _of_grid(titles, rows, "workflows", width=width)


def _route_rows(
    columns: Sequence[tuple[str, tuple[State, ...]]],
    counts: dict[tuple[str, str], dict[State, tuple[int, bool]]],
    queues: dict[tuple[str, str], RouteQueue],
    now: datetime,
) -> tuple[list[str], list[list[str]]]:
    titles = ["WORKFLOW"]
    for title, _ in columns:
        titles += [title, "OLDEST"] if title == "QUEUED" and queues else [title]
    rows = []
    for route, of in sorted(counts.items(), key=lambda one: (-_size(one[1]), one[0])):
        row = [" ".join(route)]
        for title, states in columns:
            some = [of[state] for state in states if state in of]
            row.append(_count(sum(runs for runs, _ in some), capped=any(capped for _, capped in some)))
            if title == "QUEUED" and queues:
                queue = queues.get(route)
                row.append(elapsed(queue.oldest_at, None, now) if queue and queue.oldest_at else "")
        rows.append(row)
    return titles, rows


def _size(counts: dict[State, tuple[int, bool]]) -> int:
    """Return how much goes on of a route, by its digits: so that lines seldom change their places while it changes."""
    going = sum(runs for state, (runs, _) in counts.items() if state not in _ENDED)
    return len(str(going)) if going else 0


def _rates(rates: Sequence[WorkflowRate], *, width: int) -> _Section:
    """Return what the last minutes have brought of each workflow."""
    if not rates:
        return _Section([], [], "workflows")
    minutes = max(rate.minutes for rate in rates)
    title = f"LAST {minutes} MINUTES" if minutes > 1 else "LAST MINUTE"
    rows = [
        [
            rate.workflow,
            _a_minute(rate.enqueued, rate.minutes),
            _a_minute(rate.completed + rate.failed + rate.cancelled, rate.minutes),
            f"{rate.failed:,}",
            *("" if took is None else span(took) for took in (rate.p50, rate.p95)),
        ]
        for rate in rates
    ]
    return _of_grid([title, "IN/MIN", "OUT/MIN", "FAILED", "P50", "P95"], rows, "workflows", width=width)


def _workers(summary: NamespaceSummary, now: datetime, *, width: int) -> _Section:
    rows = [
        [
            worker.worker,
            f"{worker.running:,}",
            "" if worker.slots is None else f"{worker.slots:,}",
            elapsed(worker.since, None, now),
            f"{elapsed(worker.seen_at, None, now)} ago",
            _serves(worker),
        ]
        for worker in summary.sessions
    ]
    if not rows:
        return _Section([], [], "workers")
    titles = ["WORKER", "HOLDS", "SLOTS", "SINCE", "SEEN", "SERVES"]
    section = _of_grid(titles, rows, "workers: aiki worker list", width=width, last_is_text=True)
    return replace(section, beyond=max(summary.workers - len(rows), 0))


def _serves(worker: WorkerInfo) -> str:
    first = " ".join(worker.routes[0]) if worker.routes else "nothing"
    more = worker.routes_total - 1
    draining = "draining: " if worker.draining else ""
    return f"{draining}{first}{f' and {more:,} more' if more > 0 else ''}"


def _of_grid(
    titles: Sequence[str], rows: Sequence[Sequence[str]], noun: str, *, width: int, last_is_text: bool = False
) -> _Section:
    title, *drawn = grid(titles, rows, width=width, last_is_text=last_is_text)
    return _Section([_cut(title, width)], [[_cut(line, width)] for line in drawn], noun)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _count(runs: int, *, capped: bool) -> str:
    return f"{runs:,}{'+' if capped else ''}" if runs else "-"


def _a_minute(count: int, minutes: int) -> str:
    rate = count / max(minutes, 1)
    return f"{rate:,.0f}" if rate >= 10 or rate == int(rate) else f"{rate:.1f}"
