"""Own columns of text that are never wider than the screen: the first one gives way, then the last. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from aiki_cli.view.text import one_line

_BETWEEN = "  "
_LEAST_CELLS = 12


def cut(text: str, cells: int) -> str:
    """Return `text` on one line of at most `cells` cells."""
    shown = one_line(text)
    return shown if cell_len(shown) <= cells else set_cell_size(shown, max(cells - 1, 0)) + "…" * (cells > 0)


def needed(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide the columns are, if the first one is as narrow as it may become."""
    cells = _cells(titles, rows)
    return sum(cells) - cells[0] + min(cells[0], _LEAST_CELLS) + len(_BETWEEN) * (len(cells) - 1)


def grid(titles: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, last_is_text: bool = False) -> list[Text]:
    """Return a line of titles and one of each row; all columns but the first are of numbers, or so is all but the last.

    Of a column of text that is last, what does not fit is cut.
    """
    cells = _cells(titles, rows)
    rest = sum(cells[1:-1] if last_is_text else cells[1:]) + len(_BETWEEN) * (len(cells) - 1)
    cells[0] = min(cells[0], max(width - rest - (_LEAST_CELLS if last_is_text else 0), _LEAST_CELLS))
    return [
        Text(_row(row, cells, last_is_text=last_is_text), style="dim" if index == 0 else "")
        for index, row in enumerate([titles, *rows])
    ]


def _row(row: Sequence[str], cells: Sequence[int], *, last_is_text: bool) -> str:
    first, *others = row
    parts = [set_cell_size(cut(first, cells[0]), cells[0])]
    for index, one in enumerate(others, 1):
        is_text = last_is_text and index == len(row) - 1
        shown = one_line(one)
        parts.append(shown if is_text else " " * (cells[index] - cell_len(shown)) + shown)
    return _BETWEEN.join(parts).rstrip()


def _cells(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(cell_len(one_line(row[index])) for row in [titles, *rows]) for index in range(len(titles))]
