"""Nothing durable goes by the date of the machine that a process of ours runs on."""

from __future__ import annotations

import re
from pathlib import Path

import aiki
import aikid

DATES = re.compile(r"\btime\.time(_ns)?\(|\b(datetime|date)\.(now|today|utcnow)\(|CLOCK_REALTIME")
READS = {
    "aiki/client/run_ids.py": "ids begin with it, so that they stand in lists near runs of their time: order, no more",
    "aiki/client/when.py": "which slots come next, where no server is asked: for people",
    "aiki/nats/entry.py": "whether a login is over, in words for people: the server decides",
    "aiki/worker/clock.py": "before the first reply, when there is no run",
}
"""Who asks for the date, and what for."""


def test_who_asks_for_the_date_is_known_and_decides_nothing_by_it() -> None:
    found = set()
    for package in (aiki, aikid):
        folder = Path(package.__file__ or "").parent
        for path in folder.rglob("*.py"):
            code = [line.split("#")[0] for line in path.read_text().splitlines()]
            if any(DATES.search(line) and not line.lstrip().startswith(('"', "hint", "def")) for line in code):
                found.add(str(path.relative_to(folder.parent)))
    assert found == set(READS)
