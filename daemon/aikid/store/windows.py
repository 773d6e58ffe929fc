"""Own in which order lists go through runs, and the windows in which they do: where a page begins, and where it ends.

Lists are in the order in which runs were stored, the newest first. By the beginning of a key alone they are in the
order of their keys: no index has those with one beginning by their times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aikid.store.sql import MICROSECONDS

BEFORE: Final = """
{0}.created_at >= CAST(:since AS timestamptz)
AND ({0}.created_at, {0}.{1}) < (CAST(:created AS timestamptz), CAST(:id AS uuid))
"""
"""What a page has room for of the rows of a table whose run is in this column: newest first."""
_LAST: Final = "({} FILTER (WHERE n.place = :limit))"


@dataclass(frozen=True)
class Order:
    """How a list goes through what was found."""

    by: str
    """The order of the candidates."""
    place: str
    """The two columns that say where one stands."""
    last: str
    """The same of the last that a whole window has."""
    join: str
    """How runs come to what was found of them."""

    @property
    def window(self) -> str:
        """Return so many of the candidates, each with its place."""
        return f"""
(SELECT c.*, row_number() OVER (ORDER BY {self.by}) AS place FROM candidates c
  ORDER BY place LIMIT :limit) AS n
"""

    @property
    def runs(self) -> str:
        """Return the window with the runs themselves, each by its primary key."""
        return f"{self.window} {self.join} aiki.runs r ON r.id = n.run_id AND r.namespace = :namespace"


BY_TIME: Final = Order(
    by="c.created_at DESC, c.run_id DESC",
    place=f"{MICROSECONDS.format('n.created_at')}, n.run_id::text",
    last=f"{MICROSECONDS.format(_LAST.format('min(n.created_at)'))}, {_LAST.format('max(n.run_id::text)')}",
    join="JOIN",
)
# A key may be held whose run is gone: where the window ends is known all the same.
BY_KEY: Final = Order(
    by='c.key, c.workflow COLLATE "C"',
    place="n.key, n.workflow",
    last=f"{_LAST.format('max(n.key)')}, {_LAST.format('max(n.workflow)')}",
    join="LEFT JOIN",
)
