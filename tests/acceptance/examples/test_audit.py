"""The demo's audit is no rubber stamp: each planted fault is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aiki import State
from aiki.client.history import HistoryEntry
from examples.orders.audit import TASKS, Outage, Report, Story, audit
from examples.orders.shop import Shop

KILLED_AT = datetime(2026, 1, 1, tzinfo=UTC)
OUTAGE = Outage(1, 2, KILLED_AT, KILLED_AT + timedelta(seconds=1))
HEADER = "id,customer,email,sku,quantity:,unit_cents:"
Fault = Callable[[sqlite3.Connection, Path], object]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two orders: the first worker did o-1, and died in o-2 between the gateway's books and its own record."""
    made = Shop(tmp_path)
    (tmp_path / "orders.csv").write_text(f"{HEADER}\no-1,Ada,a@example.com,mug,2,100\no-2,Bo,b@example.com,mug,1,100\n")
    for order_id, quantity in (("o-1", 2), ("o-2", 1)):
        made.reserve(order_id, "mug", quantity)
        made.charge(f"key-{order_id}", order_id, quantity * 100)
        made.write_invoice(f"{order_id}.txt", f"Invoice for order {order_id}\n\npaid, receipt r-1\n")
    made.charge("key-o-2", "o-2", 100)
    made.close()
    with closing(sqlite3.connect(tmp_path / "books.db")) as books, books:
        starts = [(task, "o-1", 1) for task in TASKS]
        starts += [("reserve", "o-2", 1), ("charge", "o-2", 1), ("charge", "o-2", 2), ("write_invoice", "o-2", 2)]
        books.executemany("insert into starts values (?, ?, ?, 0)", starts)
    return tmp_path


def stories() -> list[Story]:
    before, after = KILLED_AT - timedelta(seconds=1), KILLED_AT + timedelta(seconds=4)

    def entry(task: str, at: datetime) -> HistoryEntry:
        return HistoryEntry(at=at, move="entry", key=f"task:{task}:digest:1", ok=True)

    claim = HistoryEntry(at=before, move="claim", state=State.RUNNING)
    rescue = HistoryEntry(at=after, move="rescue", state=State.QUEUED)
    again = HistoryEntry(at=after, move="claim", state=State.RUNNING)
    first = [claim, *(entry(task, before) for task in TASKS)]
    second = [claim, entry("reserve", before), rescue, again, entry("charge", after), entry("write_invoice", after)]
    return [Story("o-1", State.COMPLETED, first), Story("o-2", State.COMPLETED, second)]


def audited(shop: Path) -> Report:
    return audit(shop / "orders.csv", shop, stories(), OUTAGE)


def test_a_good_story_holds(shop: Path) -> None:
    report = audited(shop)
    assert report.all_hold, report
    assert (report.held, report.recovered_after, report.repeats) == (1, 4.0, 1)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (lambda books, _: books.execute("insert into charges values ('other', 'o-1', 200)"), "charged once"),
        (lambda books, _: books.execute("delete from charges where order_id = 'o-2'"), "charged once"),
        (lambda books, _: books.execute("insert into starts values ('reserve', 'o-2', 2, 0)"), "ran again"),
        (lambda books, _: books.execute("insert into starts values ('charge', 'o-2', 2, 0)"), "ran again"),
        (lambda books, _: books.execute("update reservations set quantity = 9"), "left the shelves"),
        (lambda _, shop: (shop / "invoices" / "o-2.txt").unlink(), "invoices"),
        (lambda _, shop: (shop / "invoices" / "o-2.txt").write_text("Invoice for order o-2\n"), "invoices"),
    ],
)
def test_a_planted_fault_is_found(shop: Path, fault: Fault, found: str) -> None:
    with closing(sqlite3.connect(shop / "books.db")) as books, books:
        fault(books, shop)
    wrong = [finding.says for finding in audited(shop).findings if not finding.holds]
    assert any(found in says for says in wrong), wrong


def test_a_run_that_did_not_complete_is_found(shop: Path) -> None:
    told = stories()
    told[1] = Story("o-2", State.FAILED, told[1].history)
    assert not audit(shop / "orders.csv", shop, told, OUTAGE).all_hold
