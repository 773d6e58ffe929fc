"""Which runs take the new side of a change."""

from __future__ import annotations

from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from tests.unit.execution.replays import again, double, output, run


@workflow(name="old", version="1")
async def old(run: WorkflowRun) -> int:
    return await double.run(run, 1) + await double.run(run, 20)


def test_patched_takes_the_old_side_for_recorded_runs_and_the_new_one_for_others() -> None:
    @workflow(name="old", version="1")
    async def patched(run: WorkflowRun) -> int:
        extra = await double.run(run, 100) if run.patched("extra") else 0
        return extra + await double.run(run, 1) + await double.run(run, 20)

    assert output(again(run(old), patched)) == "42"
    fresh = run(patched)
    assert output(fresh) == "242"
    assert output(again(fresh)) == "242"


def test_a_patch_that_is_no_longer_asked_for_is_no_divergence() -> None:
    @workflow(name="old", version="1")
    async def patched(run: WorkflowRun) -> int:
        extra = await double.run(run, 100) if run.patched("extra") else 0
        return extra + await double.run(run, 1)

    @workflow(name="old", version="1")
    async def cleaned(run: WorkflowRun) -> int:
        return await double.run(run, 100) + await double.run(run, 1)

    assert output(again(run(patched), cleaned)) == "202"
