"""Own the check of the demo: what the shop's books say is held against the CSV and against the runs' histories."""

import asyncio
import csv
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiki import Client, RunStatus, State
from aiki.client.history import HistoryEntry

TASKS = frozenset({"reserve", "charge", "write_invoice"})
READ_AT_ONCE = 30


@dataclass(frozen=True)
class Story:
    """The history of one run; `order_id` is its idempotency key."""

    order_id: str
    state: State
    history: Sequence[HistoryEntry]

    def recorded(self) -> Iterator[tuple[str, HistoryEntry]]:
        """Yield each committed task outcome with the task's name."""
        for entry in self.history:
            if entry.move == "entry" and (task := entry.task) is not None:
                yield task, entry

    def claimed_again(self) -> datetime | None:
        """Return when another worker took the run up after its own had died; None if it was not in a dying hand."""
        rescued = False
        for entry in self.history:
            rescued = rescued or entry.move == "rescue"
            if rescued and entry.move == "claim":
                return entry.at
        return None


@dataclass(frozen=True)
class Outage:
    """The death of the first worker. Times are aware datetimes."""

    first_pid: int
    second_pid: int
    killed_at: datetime
    second_started_at: datetime


@dataclass(frozen=True)
class Finding:
    """One thing that has to hold, and the figures that show whether it does."""

    holds: bool
    says: str


@dataclass(frozen=True)
class Report:
    """All findings, and figures that nobody has to keep."""

    findings: list[Finding]
    held: int
    """Runs that the worker had in its hands when it died."""
    recovered_after: float
    """Seconds from the kill until the last of them was taken up again."""
    repeats: int
    """Task bodies that had started in the dead worker and ran again, because no result of theirs was committed."""

    @property
    def all_hold(self) -> bool:
        return all(finding.holds for finding in self.findings)


async def read_stories(client: Client, run_ids: Iterable[str]) -> list[Story]:
    """Return the histories of the runs."""
    runs = await client.runs.status(run_ids)
    limit = asyncio.Semaphore(READ_AT_ONCE)

    async def read(run: RunStatus) -> Story:
        async with limit:
            return Story(run.key or "", run.state, [entry async for entry in client.runs.history(run.run_id)])

    return await asyncio.gather(*map(read, runs))


def audit(orders: Path, shop: Path, stories: Sequence[Story], outage: Outage) -> Report:
    """Compare the CSV, the shop's books and invoices, and the stories of the runs."""
    with orders.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with closing(sqlite3.connect(shop / "books.db")) as books:
        charges = books.execute("select key, order_id, cents from charges").fetchall()
        (calls,) = books.execute("select count(*) from gateway_calls").fetchone()
        starts = books.execute("select task, order_id, pid from starts").fetchall()
        taken = dict(books.execute("select order_id, quantity from reservations").fetchall())
    again = [moment for story in stories if (moment := story.claimed_again())]
    return Report(
        findings=[
            _all_completed(rows, stories),
            _each_charged_once(rows, charges),
            Finding(
                calls - len(charges) <= len(again),
                f"the gateway was called {calls} times: {calls - len(charges)} calls came again after the kill, with "
                "the same key, and were answered from its books",
            ),
            _stock_taken_once(rows, taken),
            _nothing_committed_ran_again(stories, starts, outage),
            _invoices_complete(rows, shop / "invoices"),
            Finding(bool(again), f"the kill hit {len(again)} runs in the middle, and all went on"),
        ],
        held=len(again),
        recovered_after=max(((moment - outage.killed_at).total_seconds() for moment in again), default=0.0),
        repeats=len(starts) - len({(task, order_id) for task, order_id, _ in starts}),
    )


def moment_of(seconds: float) -> datetime:
    """Return an aware datetime of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def _all_completed(rows: Sequence[dict[str, str]], stories: Sequence[Story]) -> Finding:
    states = Counter(story.state for story in stories)
    wanted = {row["id"] for row in rows}
    holds = states == {State.COMPLETED: len(rows)} and {story.order_id for story in stories} == wanted
    seen = ", ".join(f"{count} {state}" for state, count in states.items())
    return Finding(holds, f"{len(rows)} orders are {len(stories)} runs, though the CSV was enqueued twice: {seen}")


def _each_charged_once(rows: Sequence[dict[str, str]], charges: Sequence[tuple[str, str, int]]) -> Finding:
    owed = {row["id"]: int(row["quantity:"]) * int(row["unit_cents:"]) for row in rows}
    paid = Counter[str]()
    for _, order_id, cents in charges:
        paid[order_id] += cents
    holds = paid == Counter(owed) and len(charges) == len(owed)
    total = f"{sum(paid.values()) / 100:,.2f} of {sum(owed.values()) / 100:,.2f}"
    return Finding(holds, f"each order was charged once: {len(charges)} charges under {len(charges)} keys, {total}")


def _stock_taken_once(rows: Sequence[dict[str, str]], taken: dict[str, int]) -> Finding:
    holds = taken == {row["id"]: int(row["quantity:"]) for row in rows}
    return Finding(holds, f"{sum(taken.values())} pieces left the shelves, for {len(taken)} orders")


def _nothing_committed_ran_again(
    stories: Sequence[Story], starts: Sequence[tuple[str, str, int]], outage: Outage
) -> Finding:
    """Hold each start of a task's body against the moment at which its result was recorded.

    A result recorded before the second worker was started came from the first one: the second must not have started
    that task. Any other came from the second. And no worker starts a task twice, since none of these fails.
    """
    by_task: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for task, order_id, pid in starts:
        by_task[task, order_id][pid] += 1
    committed, wrong = 0, 0
    for story in stories:
        recorded = list(story.recorded())
        wrong += sorted(task for task, _ in recorded) != sorted(TASKS)
        for task, entry in recorded:
            seen = by_task[task, story.order_id]
            by_first = entry.at < outage.second_started_at
            committed += by_first
            owner = outage.first_pid if by_first else outage.second_pid
            late = seen[outage.second_pid] if by_first else 0
            wrong += late > 0 or seen[owner] != 1 or max(seen.values(), default=0) > 1
    return Finding(
        wrong == 0, f"{committed} task results were committed before the kill: {wrong} of these tasks ran again"
    )


def _invoices_complete(rows: Sequence[dict[str, str]], folder: Path) -> Finding:
    whole = [path for path in folder.glob("*.txt") if _is_whole(path)]
    names: set[Any] = {path.stem for path in whole}
    return Finding(names == {row["id"] for row in rows}, f"{len(whole)} invoices are there and complete")


def _is_whole(invoice: Path) -> bool:
    text = invoice.read_text(encoding="utf-8")
    return text.startswith(f"Invoice for order {invoice.stem}\n") and text.splitlines()[-1].startswith(
        "paid, receipt r-"
    )
