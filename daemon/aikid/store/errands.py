"""Own what is still to be told of a run's end, or cancel, when that is committed: a row for each such errand.

It is left by whatever statement ends a run, so that none grows with the number of those who are to hear of it, and done
by a loop: whatever it reads was committed before, so nobody is overlooked, and nothing need be counted under locks.
"""

from __future__ import annotations

from typing import Final

from aiki.core.states import TERMINAL
from aikid.store.sql import quoted

END: Final = "end"
"""Its parent, and who waits for it, are to hear of its end."""
CLOSE: Final = "close"
"""Its children are to end."""
# A run that somebody waits for without having started it has a count of children that is not null, be it 0: who waits
# writes that under the run's lock, so its end sees it, whenever the lists of who waits are read.
LEFT: Final = f"""
errand AS (
  INSERT INTO aiki.errands (run_id, kind)
  SELECT e.id, k.kind FROM ended e CROSS JOIN (VALUES ('{END}'), ('{CLOSE}')) AS k(kind)
  WHERE (e.parent_id IS NOT NULL OR e.children IS NOT NULL) AND e.state IN ({quoted(TERMINAL)})
    AND (k.kind = '{END}' OR e.children > 0)
  ON CONFLICT DO NOTHING RETURNING kind
)
"""
"""A common table expression beside `ended`, which returns these columns of runs that have left a state: `parent_id` is
null if there is no parent, or it has heard in this very statement."""
