"""What a daemon has done is added up by route and minute, from what its commits have changed."""

from __future__ import annotations

import logging
import uuid

import pytest

from aiki.core.states import State
from aiki.rules.histograms import bucket
from aiki.wire.messages import Fence, Unit
from aikid.engine.changes import Changes, Ended, Finished
from aikid.store.minutes import MINUTE, Cell
from aikid.tell.tally import MOST, Tally
from tests.integration.daemon.engine import new_run

ROUTE = ("n", "flow", "1")
NOON = 28_333_333 * MINUTE


def ended(state: State, *, now: int = NOON, since: int | None = NOON - 2_000_000, run_id: str = "r") -> Changes:
    changes = Changes()
    unit = Unit(Fence(run_id, 1, "c"), 0, [], [])
    changes.ended["n"].append(Ended(unit, now, now, None, state, "flow", "1", since))
    return changes


def test_what_commits_have_done_is_added_up() -> None:
    tally = Tally()
    run_id = str(uuid.uuid4())
    changes = ended(State.COMPLETED)
    changes.enqueued[ROUTE, NOON] += 3
    changes.add(ended(State.FAILED, run_id=run_id))
    changes.finished.append(Finished(ROUTE, "late", State.CANCELLED, NOON, NOON - 500))
    tally.add(changes)
    tally.add(ended(State.SLEEPING, since=None))
    buckets = {bucket(2_000_000): 2, 0: 1}
    assert tally.take() == [Cell(*ROUTE, NOON // MINUTE, 3, 1, 1, 1, buckets, run_id)]
    assert tally.take() == []


def test_each_minute_has_its_own() -> None:
    tally = Tally()
    for now in (NOON - 1, NOON, NOON + MINUTE - 1, NOON + MINUTE):
        tally.add(ended(State.COMPLETED, now=now))
    assert [(cell.minute - NOON // MINUTE, cell.completed) for cell in tally.take()] == [(-1, 1), (0, 2), (1, 1)]


@pytest.mark.anyio
async def test_more_routes_than_are_remembered_are_left_out_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    changes = Changes()
    for number in range(MOST + 7):
        changes.enqueued[("n", f"flow-{number}", "1"), NOON] += 1
    tally.add(changes)
    tally.add(changes)
    with caplog.at_level(logging.WARNING):
        cells = tally.take()
    assert len(cells) == MOST
    assert {cell.enqueued for cell in cells} == {2}
    assert "14 runs are not counted" in caplog.text


def test_one_repeated_id_of_a_batch_is_one_run() -> None:
    run, other = new_run(), new_run()
    changes = Changes()
    changes.made([("n", run), ("n", run), ("n", other)], {run.id}, NOON)
    changes.made([("n", other)], None, NOON)
    assert dict(changes.enqueued) == {(("n", "flow", "1.0"), NOON): 2}
