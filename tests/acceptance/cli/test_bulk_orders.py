"""Orders by filter: counted first, given with a yes, an outcome for each run; and `aiki run cancel --force`."""

from __future__ import annotations

import json
import subprocess
from functools import partial

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.streams import Stderr
from tests.waiting import patient, wait_until_sync

LATER = ("--delay", "1h")
BATCH = ("--workflow", "hello", "--label", "batch=b-1")


@pytest.fixture
def ours(aiki, start, namespace):
    """Run `aiki` in a namespace of the test's own, where nobody serves the flows any more."""
    own = {"AIKI_NAMESPACE": namespace}
    known = start("worker", "start", "-m", "flows", env=own)
    known.wait_for_log("serves")
    known.close()
    return partial(aiki, env=own)


def test_runs_that_are_filtered_obey_only_after_a_yes_and_each_has_its_line(ours):
    ids = [ours("enqueue", "hello", *LATER, "--label", "batch=b-1").lines[0] for _ in range(3)]
    other = ours("enqueue", "hello", *LATER).lines[0]
    counted = ours("run", "pause", *BATCH)
    assert (counted.code, counted.out) == (2, "")
    assert "3 runs would be paused, and none was" in counted.err
    assert "hint: the same again with --yes" in counted.err
    for order, word, state in (
        ("pause", "paused", "paused"),
        ("resume", "resumed", "scheduled"),
        ("wake", "woken", "queued"),
        ("cancel", "cancelled", "cancelled"),
    ):
        done = ours("run", order, *BATCH, "--yes", "-o", "jsonl")
        assert (done.code, f"3 {word}" in done.err) == (0, True), done.err
        runs = [json.loads(line) for line in done.lines]
        assert {run["id"]: (run["outcome"], run["state"]) for run in runs} == dict.fromkeys(ids, (word, state))
        again = ours("run", order, *BATCH, "--yes")
        assert (again.code, again.out, "no run matches" in again.err) == (0, "", True), "its repeat does no harm"
    assert ours("run", "show", other, "-o", "json").json["state"] == "scheduled"


def test_runs_are_found_by_all_the_labels_that_are_named_whatever_they_say(ours):
    ours("enqueue", "hello", *LATER, "--label", "team=a")
    for value in ("", "Łódź 😀", 'it\'s "so"', "a=b\\", "%s;--", "é" * 256):
        labels = ("--label", f"said={value}", "--label", "team=a")
        ours("enqueue", "hello", *LATER, *labels[:2])
        run_id = ours("enqueue", "hello", *LATER, *labels).lines[0]
        (listed,) = ours("run", "list", *labels, "-o", "json").json["runs"]
        assert (listed["id"], listed["labels"]) == (run_id, {"said": value, "team": "a"})
        assert ours("run", "pause", *labels, "--yes", "-o", "ids").lines == [run_id]


@pytest.mark.parametrize(("typed", "code", "state"), [("y", 0, "paused"), ("", 2, "scheduled"), ("no", 2, "scheduled")])
def test_a_person_at_a_terminal_is_asked(ours, environment, flows, namespace, typed, code, state):
    run_id = ours("enqueue", "hello", *LATER).lines[0]
    own, person = {**environment, "AIKI_NAMESPACE": namespace}, Stderr("terminal")
    command = [*AIKI, "run", "pause", "--workflow", "hello", "-o", "ids"]
    process = subprocess.Popen(
        command, stdin=person.descriptor, stdout=subprocess.PIPE, stderr=person.descriptor, env=own, cwd=flows
    )
    try:
        wait_until_sync(lambda: "1 run would be paused. Go on? [y/N]" in person.read(), 60)
        person.type(f"{typed}\n")
        out, _ = process.communicate(timeout=patient(60))
    finally:
        process.kill()
        process.wait()
        person.close()
    assert (process.returncode, out.decode().split()) == (code, [run_id] if code == 0 else [])
    assert ours("run", "show", run_id, "-o", "json").json["state"] == state


def test_only_runs_that_are_old_enough_are_meant(ours):
    run_id = ours("enqueue", "hello", *LATER).lines[0]
    assert "no run matches" in ours("run", "cancel", "--older-than", "1h", "--yes").err
    assert ours("run", "cancel", "--older-than", "0s", "--yes", "-o", "ids").lines == [run_id]
    assert ours("run", "cancel", "--older-than", "soon", "--yes").code == 2


def test_of_runs_that_are_filtered_the_highest_code_counts(ours):
    ours("run", "pause", ours("enqueue", "hello", *LATER).lines[0])
    ours("enqueue", "hello", *LATER)
    done = ours("run", "resume", "--state", "paused,scheduled", "--yes")
    assert (done.code, len(done.lines)) == (6, 2)
    assert "1 resumed, 1 refused" in done.err or "1 refused, 1 resumed" in done.err
    assert "1 runs did not obey" in done.err


def test_runs_are_named_or_filtered_and_not_both(ours):
    for order in ("pause", "resume", "wake", "cancel"):
        nobody = ours("run", order)
        assert (nobody.code, "no run is named" in nobody.err) == (2, True)
        both = ours("run", order, "@last", "--workflow", "hello")
        assert (both.code, "name runs, or filter them: not both" in both.err) == (2, True)


def test_a_cancel_by_force_wants_a_yes_and_ends_what_nobody_serves(aiki, start, namespace):
    ours = partial(aiki, env={"AIKI_NAMESPACE": namespace})
    worker = start("worker", "start", "-m", "flows", env={"AIKI_NAMESPACE": namespace})
    worker.wait_for_log("serves")
    asking = ours("enqueue", "asking").lines[0]
    wait_until_sync(lambda: ours("status", asking, "-o", "json").json["claims"])
    worker.terminate()
    told = ours("run", "cancel", asking, "--reason", "wrong address", "--wait", "0s", "-o", "table")
    assert "no live worker serves asking 1: it ends when one does, or by force" in " ".join(told.out.split())
    refused = ours("run", "cancel", asking, "--force")
    assert (refused.code, refused.out) == (2, "")
    assert "1 run would be cancelled by force, without taking back what they did" in refused.err
    done = ours("run", "cancel", asking, "--force", "--yes", "-o", "json").json
    assert done["state"] == "cancelled"
    assert done["why"].endswith("wants it cancelled; ended at once, without compensation")
    assert "@" in done["why"].split()[0], "who: user@host"
    *_, told, ended = ours("run", "history", asking, "-o", "json").json["history"]
    assert (told["reason"].endswith("wants it cancelled: wrong address"), ended["move"]) == (True, "cancel")
    waited = ours("wait", asking)
    assert (waited.code, "ended at once" in waited.err) == (3, True)
