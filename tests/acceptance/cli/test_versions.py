"""A workflow is changed while runs of it are in flight: what is said, what is shown, how runs get to the new code."""

from __future__ import annotations

import signal

import pytest

from tests.waiting import wait_until_sync

CODE = """
from aiki import Event, WorkflowRun, task, workflow

go = Event("go")

@task
async def one(number: int) -> int:
    return number

@task
async def other(number: int) -> int:
    return number

@workflow(name="versioned", version="1")
async def first(run: WorkflowRun, number: int) -> int:
    got = await one.run(run, number)
    await run.wait_for(go)
    return got
"""
SECOND = """
@workflow(name="versioned", version="2")
async def second(run: WorkflowRun, number: int) -> int:
    got = await one.run(run, number)
    await run.wait_for(go)
    return got + 100
"""
BROKEN = CODE.replace("await one.run(run, number)", "await other.run(run, number)")
RUNS = 50


@pytest.fixture
def own(namespace):
    return {"AIKI_NAMESPACE": namespace}


@pytest.fixture
def serve(start, flows, own):
    """Start a worker with this code of the module."""

    def serves(code, *more, module="versioned"):
        (flows / f"{module}.py").write_text(code)
        worker = start("worker", "start", "-m", module, "--drain", "100ms", *more, env=own)
        worker.wait_for_log("serves")
        return worker

    return serves


def states(aiki, own):
    counts = aiki("status", "-o", "json", env=own).json["counts"]
    return {(count["version"], count["state"]): count["runs"] for count in counts}


def enqueued(aiki, own, flows, runs, state="waiting"):
    """Enqueue so many runs, and return their ids once all of them stand so."""
    rows = flows / "rows.jsonl"
    rows.write_text("".join(f'{{"number": {n}}}\n' for n in range(runs)))
    ids = aiki("enqueue", "versioned", "--version", "1", "--from", str(rows), "-o", "ids", env=own).lines
    wait_until_sync(lambda: states(aiki, own).get(("1", state)) == runs, 30, what="the runs do not wait")
    return ids


def listed(aiki, own):
    found = aiki("workflow", "list", "-o", "json", env=own).json["workflows"]
    return {one["version"]: one for one in found}


def test_a_rolling_deploy_as_it_is_listed(aiki, serve, own, flows):
    old = serve(CODE)
    enqueued(aiki, own, flows, 3)
    new = serve(CODE + SECOND, module="versioned_next")
    assert "has changed" not in new.logged()
    versions = listed(aiki, own)
    assert [(one["standing"], one["workers"], one["runs"]) for _, one in sorted(versions.items())] == [
        ("served", 2, {"waiting": 3}),
        ("served", 1, {}),
    ]
    assert versions["1"]["last_start"] is not None
    assert versions["1"]["code_since"] is not None
    assert old.terminate(signal.SIGTERM) == 0
    assert new.terminate(signal.SIGTERM) == 0
    serve(f"from aiki import WorkflowRun, workflow\nfrom versioned_next import go, one\n{SECOND}", module="only_two")
    said = aiki("workflow", "list", "-o", "table", env=own)
    assert listed(aiki, own)["1"]["standing"] == "stranded"
    assert "versioned 1: 3 in flight, and no live worker serves it" in said.err
    shown = aiki("workflow", "show", "versioned", "--version", "1", "-o", "table", env=own).out
    assert "stranded" in shown
    assert "3 waiting" in shown
    aiki("run", "cancel", "--workflow", "versioned", "--yes", "--force", env=own)
    assert listed(aiki, own)["1"]["standing"] == "drained"
    assert aiki("workflow", "show", "nothing", env=own).code == 5


def test_blocked_runs_are_moved_to_the_version_that_they_fit(aiki, serve, own, flows):
    worker = serve(CODE)
    ids = enqueued(aiki, own, flows, RUNS)
    assert worker.terminate(signal.SIGTERM) == 0

    worker = serve(BROKEN + SECOND)
    wait_until_sync(lambda: "has changed" in worker.logged(), 10, what="nothing is said of the change")
    assert f"while {RUNS} runs of it are in flight" in worker.logged()
    assert "aiki replay --workflow versioned --version 1 --state" in worker.logged()
    assert aiki("event", "send", "--workflow", "versioned", "go", "--yes", env=own).code == 0
    wait_until_sync(lambda: states(aiki, own).get(("1", "blocked")) == RUNS, 30, what="the runs are not blocked")

    of = ["--workflow", "versioned", "--version", "1", "--state", "blocked"]
    move = ["run", "move", *of, "--to-version", "2", "-m", "versioned"]
    counted = aiki(*move, env=own)
    assert counted.code == 2
    assert f"{RUNS} runs would be moved to version 2" in counted.err
    assert states(aiki, own) == {("1", "blocked"): RUNS}
    moved = aiki(*move, "--yes", "-o", "jsonl", env=own)
    assert moved.code == 0, moved
    assert len(moved.lines) == RUNS
    wait_until_sync(lambda: states(aiki, own).get(("2", "completed")) == RUNS, 30, what="the runs do not end")
    assert aiki("wait", ids[7], env=own).out.strip() == "107"
    told = aiki("run", "history", ids[7], "-o", "json", env=own).json["history"]
    assert [line["reason"] for line in told if line["move"] == "moved"] == ["from 1 to 2"]


def test_what_does_not_fit_stays_and_says_why(aiki, serve, own, flows):
    worker = serve(CODE)
    fits_not, waits = enqueued(aiki, own, flows, 2)
    assert worker.terminate(signal.SIGTERM) == 0
    serve(CODE + SECOND.replace("await one.run", "await other.run"))
    assert aiki("run", "pause", fits_not, env=own).code == 0

    refused = aiki("run", "move", fits_not, "--to-version", "2", "-m", "versioned", env=own)
    assert refused.code == 6
    assert "was not moved: on version 2 it diverges" in refused.err
    assert "--as-version 2" in refused.err
    refused = aiki("run", "move", waits, "--to-version", "2", "-m", "versioned", env=own)
    assert refused.code == 6
    assert "is waiting, and only what is blocked, paused, queued, scheduled" in refused.err
    refused = aiki("run", "move", fits_not, "--to-version", "7", "--no-replay", env=own)
    assert refused.code == 5
    assert states(aiki, own) == {("1", "paused"): 1, ("1", "waiting"): 1}
    assert aiki("run", "move", fits_not, "--to-version", "2", "--no-replay", env=own).code == 0
    assert states(aiki, own) == {("2", "paused"): 1, ("1", "waiting"): 1}


def test_where_the_code_is_has_to_be_said(aiki, own):
    refused = aiki("run", "move", "--workflow", "versioned", "--to-version", "2", "--yes", env=own)
    assert refused.code == 2
    assert "-m NAME, or with --no-replay" in refused.err
