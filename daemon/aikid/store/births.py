"""Own what stands of a run that another has started: in its own row, in those of children, and in its parent's count.

These are parts of the statement that inserts runs (`enqueue`), for batches of children alone. Each start has its row
in `children`, whatever becomes of the run: one that stands there is never carried out again, also if the run that it
made is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiki.wire.messages.options import ParentClose
from aikid.store.arrays import Array, Ints, Texts, Uuids
from aikid.store.listing import LABELLED, LISTED


@dataclass(frozen=True, slots=True)
class Birth:
    """Who starts a run: the parent, its generation, how deep its children stand, and what its end means to this one.

    And how many it had `before`, counted under its lock.
    """

    parent_id: str
    generation: int
    depth: int
    parent_close: ParentClose
    before: int


# A full join is hashed however the sizes are guessed; what is inner about it is said in words that the planner does not
# see through. The parents are locked: their counts are changed by nobody else.
_BORN: Final = f"""
{LISTED.format(column=", is_child", value=", true")}, {LABELLED}, born AS (
  INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, before, created_at)
  SELECT n.parent_id, m.id, m.id, n.parent_generation, true, n.parent_close, n.before, m.created_at
  FROM made m FULL JOIN new n ON n.id = m.id
  WHERE coalesce(m.created_at, 'epoch') > 'epoch' AND coalesce(n.place, -1) >= 0
  RETURNING parent_id
), counted AS (
  UPDATE aiki.runs r SET children = coalesce(r.children, 0) + c.count
  FROM (SELECT b.parent_id, count(*) FROM born b GROUP BY b.parent_id) AS c WHERE r.id = c.parent_id
)
"""
PARENTED: Final[Mapping[str, str]] = {
    "slots": ", %b, %b, %b, %b, %b",
    "columns": ", parent_id, parent_generation, depth, parent_close, before",
    "are_unknown": """
  WHERE NOT EXISTS (SELECT FROM aiki.children c WHERE c.parent_id = t.parent_id AND c.start_id = t.id)""",
    "kept": ", parent_id, parent_generation, depth",
    "listed": _BORN,
}
"""Parts of the statement for children."""
ALONE: Final[Mapping[str, str]] = {
    **dict.fromkeys(PARENTED, ""),
    "listed": f"{LISTED.format(column='', value='')}, {LABELLED}",
}
"""The same parts for runs that nobody has started."""


def arrays(births: Sequence[Birth]) -> list[Array]:
    """Return the parameters of PARENTED: none for no births."""
    if not births:
        return []
    return [
        Uuids([one.parent_id for one in births]),
        Ints([one.generation for one in births]),
        Ints([one.depth for one in births]),
        Texts([one.parent_close for one in births]),
        Ints([one.before for one in births]),
    ]
