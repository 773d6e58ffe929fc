"""Own what a person sees while the demo runs: bars on a terminal, a plain line each second anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 1.0
BAR_COLUMNS = (TextColumn("{task.description:10}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())


class Screen(Protocol):
    """Where the demo tells its story."""

    def say(self, text: str) -> None:
        """Tell one thing."""

    def show(self, charged: int, ended: int) -> None:
        """Show how far the orders are."""


@contextmanager
def open_screen(orders: int) -> Iterator[Screen]:
    """Yield the screen that fits stdout."""
    if sys.stdout.isatty():
        with Progress(*BAR_COLUMNS) as progress:
            yield Bars(progress, orders)
    else:
        yield Lines(orders)


class Bars:
    """Two bars, with what was said above them."""

    def __init__(self, progress: Progress, orders: int) -> None:
        self._progress = progress
        self._charged = progress.add_task("charged", total=orders)
        self._ended = progress.add_task("completed", total=orders)

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def show(self, charged: int, ended: int) -> None:
        self._progress.update(self._charged, completed=charged)
        self._progress.update(self._ended, completed=ended)


class Lines:
    """Plain lines."""

    def __init__(self, orders: int) -> None:
        self._orders = orders
        self._next = 0.0

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show(self, charged: int, ended: int) -> None:
        now = time.monotonic()
        if now >= self._next or ended == self._orders:
            self._next = now + LINE_SECONDS
            print(f"  charged {charged:4}   completed {ended:4}   of {self._orders}", flush=True)
