"""Own what a claim brings its worker of a run in memory: as much as a page of the test's length holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiki.testing.memory.claims import take
from aiki.testing.memory.store import Session
from aiki.wire.limits import CLAIMED_ARRIVALS
from aiki.wire.messages import Claimed

if TYPE_CHECKING:
    from tests.worlds.world import World

SESSION = "of {} {}"


def claimed(world: World) -> Claimed:
    """Claim the run, which is queued, for a worker that has no other."""
    store, length = world.store, world.page_length
    number = world.epoch + 1
    session = Session(SESSION.format(world.run_id, number), "worker", 30)
    store.sessions[session.id] = session
    claim = take(store, world.run, session, f"claim-{number}")
    page = world.run.inbox.page(0, min(length, CLAIMED_ARRIVALS))
    claim.arrivals, claim.news = page.arrivals, page.news
    claim.entries = claim.entries[:length]
    claim.attempts = claim.attempts if len(claim.attempts) <= length else []
    return claim
