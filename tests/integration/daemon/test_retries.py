"""A run that failed or was cancelled goes on in another: what that is given, and what of the first is left behind."""

from __future__ import annotations

import pytest

from aiki.core.states import ENQUEUED, RETRIED, State
from aiki.rules.histories import read
from aiki.wire.messages import Redone
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine
from tests.integration.daemon.retrying import carried_out, ended, outcome, retried

pytestmark = pytest.mark.anyio

A, B = outcome("a", asked=0), outcome("b", asked=1)
BAD = outcome("bad", asked=2, ok=False)


async def test_a_retry_is_a_new_run_that_begins_with_the_journal_of_the_old_one_up_to_what_failed_it(
    engine: Engine,
) -> None:
    old = (await ended(engine, A, B, BAD)).fence.run_id
    done = await carried_out(engine, old)
    ((said,),) = [reply.outcomes for reply in done.replies]
    assert said == Redone("retried", said.run_id, State.QUEUED)
    assert dict(done.changes.queued) == {(engine.namespace, WORKFLOW, VERSION): 1}
    run = await engine.claim_one()
    assert (run.fence.run_id, run.origin_id, run.attempt, run.claims) == (said.run_id, old, 2, 1)
    assert [one.key for one in run.entries] == [A.key, B.key, BAD.key, "retry:2"]
    assert read(run.entries).entries == [A, B]


async def test_both_runs_say_which_has_taken_the_place_of_which(engine: Engine) -> None:
    old = (await ended(engine, BAD)).fence.run_id
    new = (await retried(engine, old)).run_id
    lines = "SELECT move, reason FROM aiki.run_history WHERE run_id = %s ORDER BY seq"
    assert (await engine.execute(lines, old))[-1] == (RETRIED, f"by run {new}")
    assert await engine.execute(lines, new) == [(ENQUEUED, f"a retry of run {old}")]
