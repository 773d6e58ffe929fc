"""`aiki run retry`: who follows the old run gets to the new one, and what is refused says how to have it done."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import Aiki
from tests.waiting import wait_until_sync

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def failed(aiki: Aiki, worker: object, tmp_path: Path) -> tuple[str, Path]:
    """Return a run that has failed, and the file that it lacks."""
    gate = tmp_path / "gate"
    run_id = aiki("enqueue", "mending", f"gate={gate}").lines[0]
    assert aiki("wait", run_id).code == 1
    return run_id, gate


def test_a_run_is_retried_and_whoever_follows_it_gets_to_the_new_one(aiki, failed):
    old, gate = failed
    gate.touch()
    done = aiki("run", "retry", old, "-o", "json")
    assert (done.code, done.json["retry_of"]) == (0, old)
    new = done.json["id"]
    assert aiki("run", "retry", old, "-o", "ids").lines == [new], "one retry a run"
    for order in ("cancel", "pause"):
        refused = aiki("run", order, old)
        assert (refused.code, f"hint: aiki run {order} {new}" in refused.err) == (6, True), refused.err
    assert (aiki("wait", old).code, aiki("wait", old).out) == (0, '"mended"\n')
    status = aiki("status", old, "-o", "json").json
    assert (status["id"], status["retry_of"], status["state"]) == (new, old, "completed")
    assert aiki("run", "show", old, "-o", "json").json["retried_by"] == new
    moves = [one["move"] for one in aiki("run", "history", old, "-o", "json").json["history"]]
    assert moves[-1] == "retried"
    told = aiki("run", "history", new, "-o", "json").json["history"]
    assert f"a retry of run {old}" in [one["reason"] for one in told]


def test_what_was_done_since_is_named_with_the_words_to_go_on(aiki, worker, tmp_path):
    gate = tmp_path / "gate"
    run_id = aiki("enqueue", "mending", f"gate={gate}", "undo:=true").lines[0]
    assert aiki("wait", run_id).code == 1
    gate.touch()
    refused = aiki("run", "retry", run_id)
    assert (refused.code, refused.out) == (6, "")
    assert "has completed shout since" in refused.err
    assert f"hint: aiki run retry {run_id} --keep shout" in refused.err
    assert aiki("run", "retry", run_id, "--keep", "shout").code == 0
    assert aiki("wait", run_id).out == '"mended"\n'


def test_what_cannot_be_retried_says_why(aiki, failed):
    old, _ = failed
    completed = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    waiting = aiki("enqueue", "asking").lines[0]
    for run_id, code, why in (
        (UNKNOWN, 5, "does not exist"),
        (completed, 6, "is completed: only a run that failed or was cancelled can be retried"),
        (waiting, 6, "only a run that failed or was cancelled"),
    ):
        refused = aiki("run", "retry", run_id)
        assert (refused.code, refused.out, why in refused.err) == (code, "", True), refused.err
    assert aiki("run", "retry", old, "--from", "shout").code == 2
    assert aiki("run", "retry", old, "--from", "mend", "-p", "{}").code == 2
    nobody = aiki("run", "retry", old, "--keep", "no task", env={"AIKI_URL": "nats://127.0.0.1:9"})
    assert (nobody.code, "must be the name of a task" in nobody.err) == (2, True), "before anybody is asked"
    assert aiki("run", "retry", old, "-p", '{"gate": 5}').code == 65
    several = aiki("run", "retry", UNKNOWN, completed, old)
    assert several.code == 6
    assert [line.split("\t")[0] for line in several.lines][:2] == [UNKNOWN, completed]


def test_an_enqueue_by_key_retries_what_failed(aiki, worker, tmp_path):
    gate = tmp_path / "gate"
    enqueue = ("enqueue", "mending", f"gate={gate}", "--key", str(gate), "--on-conflict", "retry_failed")
    old = aiki(*enqueue).lines[0]
    assert aiki("wait", old).code == 1
    gate.touch()
    assert aiki(*enqueue, "--wait").out == '"mended"\n'
    assert aiki("status", old, "-o", "json").json["retry_of"] == old


def test_a_run_begins_anew_with_another_input(aiki, failed, tmp_path):
    old, _ = failed
    other = tmp_path / "other"
    other.touch()
    assert aiki("run", "retry", old, "-p", f'{{"gate": "{other}"}}').code == 0
    assert aiki("wait", old).out == '"mended"\n'


def test_runs_that_are_filtered_are_counted_first_and_retried_no_more_than_is_said(aiki, own, tmp_path):
    ours = partial(aiki, env=own)
    gate = tmp_path / "gate"
    ids = [ours("enqueue", "mending", f"gate={gate}", "--label", "batch=b").lines[0] for _ in range(3)]
    assert ours("wait", *ids).code == 1
    gate.touch()
    wanted = ("run", "retry", "--label", "batch=b")
    counted = ours(*wanted)
    assert (counted.code, "3 runs would be retried, and none was" in counted.err) == (2, True)
    assert len(ours(*wanted, "--limit", "2", "--per-second", "50", "--yes").lines) == 2
    assert len(ours(*wanted, "--yes").lines) == 1, "what was retried is left out"
    assert "no run matches" in ours(*wanted, "--yes").err
    assert ours("wait", *ids).code == 0


def test_a_run_that_its_workflow_tries_again_says_why_and_when_and_can_be_made_to_go_on(aiki, worker, tmp_path):
    gate = tmp_path / "gate"
    run_id = aiki("enqueue", "stubborn", f"gate={gate}").lines[0]
    wait_until_sync(lambda: "retrying" in aiki("status", run_id).out, 20, what="the first attempt's failure")
    status = aiki("status", run_id, "-o", "json").json
    assert (status["attempt"], status["error"]["message"]) == (2, f"task 'mend' failed once: FileNotFoundError: {gate}")
    assert status["why"].startswith("begins attempt 2")
    assert status["why"].endswith(f": attempt 1 failed: TaskFailed: {status['error']['message']}")
    gate.touch()
    assert aiki("run", "resume", run_id).code == 0
    assert aiki("wait", run_id).out == '"mended"\n'
    moves = [one["move"] for one in aiki("run", "history", run_id, "-o", "json").json["history"]]
    assert moves == ["enqueued", "claim", "entry", "entry", "again", "resume", "claim", "entry", "complete"]
