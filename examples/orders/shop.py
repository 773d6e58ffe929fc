"""Own the world outside Aiki: the shelves, the payment gateway with its books, and the folder of invoices.

It stands for other companies' systems, so it knows nothing of runs. It also notes each start of a task's body, which
is what the demo later holds against the runs' histories.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIECES = 5_000
"""On each shelf at the start."""

_SCHEMA = """
    create table if not exists shelves (sku text primary key, pieces int not null);
    create table if not exists reservations (order_id text primary key, sku text not null, quantity int not null);
    create table if not exists charges (key text primary key, order_id text not null, cents int not null);
    create table if not exists gateway_calls (key text not null, order_id text not null, pid int not null, at real);
    create table if not exists starts (task text not null, order_id text not null, pid int not null, at real not null);
"""


class Shop:
    """The shop's books, in SQLite. Safe for many threads and processes, and after `kill -9` of any of them."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._invoices = home / "invoices"
        self._invoices.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._books = sqlite3.connect(home / "books.db", timeout=30, isolation_level=None, check_same_thread=False)
        # A committed transaction in the write-ahead log outlives any process.
        self._books.execute("pragma journal_mode = wal")
        self._books.execute("pragma synchronous = normal")
        self._books.executescript(_SCHEMA)

    def note_start(self, task: str, order_id: str) -> None:
        """Note that the body of `task` starts now, in this process."""
        with self._transaction() as books:
            books.execute("insert into starts values (?, ?, ?, ?)", (task, order_id, os.getpid(), time.time()))

    def reserve(self, order_id: str, sku: str, quantity: int) -> int:
        """Take `quantity` pieces off the shelf, once per order; return how many are left. Raises ValueError."""
        with self._transaction() as books:
            books.execute("insert or ignore into shelves values (?, ?)", (sku, PIECES))
            new = books.execute("insert or ignore into reservations values (?, ?, ?)", (order_id, sku, quantity))
            if new.rowcount:
                books.execute("update shelves set pieces = pieces - ? where sku = ?", (quantity, sku))
            (left,) = books.execute("select pieces from shelves where sku = ?", (sku,)).fetchone()
            if left < 0:
                raise ValueError(f"no {sku} left for order {order_id}")
            return int(left)

    def charge(self, key: str, order_id: str, cents: int) -> str:
        """Do what a payment gateway does: note the call, take the money once per `key`, return the receipt."""
        with self._transaction() as books:
            call = (key, order_id, os.getpid(), time.time())
            books.execute("insert into gateway_calls values (?, ?, ?, ?)", call)
            books.execute("insert or ignore into charges values (?, ?, ?)", (key, order_id, cents))
        return f"r-{key[:12]}"

    def write_invoice(self, name: str, text: str) -> str:
        """Write an invoice whole or not at all, and return its name."""
        part = self._invoices / f".{name}.{os.getpid()}"
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._invoices / name)
        return name

    def close(self) -> None:
        """Close the books."""
        self._books.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # The lock is for our threads; other processes wait in SQLite.
        with self._lock:
            self._books.execute("begin immediate")
            try:
                yield self._books
            except BaseException:
                self._books.execute("rollback")
                raise
            self._books.execute("commit")
