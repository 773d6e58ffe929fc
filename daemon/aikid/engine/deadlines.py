"""Decide and commit what the deadlines of runs do to them, when they have passed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiki.core.failpoints import failpoint
from aiki.core.states import SETTLED, State
from aiki.rules.deadlines import Step
from aikid.engine.changes import Changes, Finished
from aikid.store import deadlines as store
from aikid.store.deadlines import Passed
from aikid.store.pool import Pool

_BATCH: Final = 500


async def pass_due(pool: Pool) -> AsyncIterator[Changes]:
    """Let all deadlines that have passed do what they do; yield what each commit changed. Raises Unavailable."""
    count = _BATCH
    while count == _BATCH:
        passed = await pool.run(lambda c: store.pass_due(c, limit=_BATCH))
        count = len(passed)
        if passed:
            failpoint("deadline.before_tell")
            changes = Changes()
            for run in passed:
                _note(changes, run)
            yield changes


def _note(changes: Changes, run: Passed) -> None:
    if run.step in (Step.END, Step.CUT):
        assert run.state in SETTLED
        changes.settled[run.namespace].append(run.id)
        changes.errands += 1
        route = (run.namespace, run.workflow, run.version)
        changes.finished.append(Finished(route, run.id, run.state, run.now, run.since))
    elif run.step is Step.TELL:
        changes.changed[run.namespace].append(run.id)
        if run.state is State.QUEUED:
            changes.queued[run.namespace, run.workflow, run.version] += 1
    else:
        return
    # Of an end, too: its worker reads its inbox, finds that the run has ended, and has a slot free.
    if run.session is not None:
        changes.told[run.namespace, run.session].append((run.id, run.news))
