"""Own how a child's end reaches its parent: parts of the statement that folds what units do, and of what tells later.

A parent hears of each of its children once, by an arrival that says which run has ended and how. What that has come to
stands with the child alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiki.core.states import TERMINAL
from aiki.rules.arriving import CHILD
from aiki.rules.checking import END_VERSION
from aikid.store.sql import quoted

_TERMINAL: Final = quoted(TERMINAL)
# A parent hears of an end once, since a run ends once and who tells it is the statement that writes it, or the one that
# deletes its errand. Who has attached may be told by several, so that has an id: of each run that a start stands for
# another, since a child that is retried ends anew.
SEND_ID: Final = (
    f"overlay(left(encode(sha256(convert_to({{0}}::text || {{1}}::text, 'UTF8')), 'hex'), 32)"
    f" placing '{END_VERSION}' from 13 for 1)::uuid"
)
"""The id by which the end of a run is known to who has attached to it, by the start that stands for it there."""
VALUE: Final = "convert_to(json_build_object('run_id', {0}, 'state', {1})::text, 'UTF8')"
# A run's parent is written once, so it may be read before the locks. Who claims to have none is asked all the same.
TARGETS: Final = f"""
 UNION SELECT (SELECT p.parent_id FROM aiki.runs p WHERE p.id = u.run_id), u.namespace FROM unit u
 WHERE u.target IN ({_TERMINAL})"""
"""The runs to be locked beside those of units that end."""
# An end that may not hold is told later. The child's id is that of its start, also if it is a retry: its origin's.
TELLING: Final = f"""
telling AS MATERIALIZED (
  SELECT f.id AS child, f.n, f.origin_id AS start_id, f.target AS state, p.id, p.origin_id
  FROM fit f FULL JOIN locked p ON p.id = f.parent_id
  WHERE coalesce(f.target, '') IN ({_TERMINAL}) AND f.seen IS NULL
    AND coalesce(p.state, '{min(TERMINAL)}') NOT IN ({_TERMINAL})
    AND coalesce(p.generation, -1) = coalesce(f.parent_generation, -2)
), """
OF_ENDS: Final = f"""
SELECT t.id, t.n, 2, '{CHILD}', t.start_id::text, NULL::uuid, NULL, NULL, {VALUE.format("t.child", "t.state")},
  t.origin_id, '{CHILD}' FROM telling t
"""
"""What reaches parents by `telling`."""
HEARD: Final[Mapping[str, str]] = {
    "tells": ", y.child IS NOT NULL AS tells",
    "telling": " FULL JOIN telling y ON y.child = l.id",
    "untold": "CASE WHEN NOT c.tells THEN r.parent_id END",
}
"""Which of the runs that end have a parent that has not heard of it."""
UNHEARD: Final[Mapping[str, str]] = {"tells": "", "telling": "", "untold": "r.parent_id"}
