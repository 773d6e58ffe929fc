"""`aiki run`: what a person and a script see of runs, and of what came of them."""

from __future__ import annotations

import subprocess
from functools import partial

from tests.acceptance.cli.conftest import AIKI
from tests.waiting import patient


def test_runs_are_listed_newest_first_by_filters(aiki, own):
    aiki = partial(aiki, env=own)
    first = aiki("enqueue", "hello", "--label", "tenant=a").lines[0]
    second = aiki("enqueue", "hello", "--label", "tenant=b").lines[0]
    bad = aiki("enqueue", "failing", "reason=x").lines[0]
    aiki("wait", first, second, bad)
    assert aiki("run", "list", "-o", "ids").lines == [bad, second, first]
    assert aiki("run", "list", "--workflow", "hello", "-o", "ids").lines == [second, first]
    assert aiki("run", "list", "--label", "tenant=a", "-o", "ids").lines == [first]
    shown, *_, whole = aiki("run", "list", "-o", "json").json["runs"]
    assert (whole["result"], whole["result_bytes"]) == ("HELLO ADA", None)
    assert (shown["result"], shown["error"]["task"]) == (None, "break_down")
    assert aiki("run", "list", "--state", "failed,blocked", "-o", "ids").lines == [bad]
    assert aiki("run", "list", "--since", "1h", "--limit", "1", "-o", "json").json["cursor"]
    assert aiki("run", "list", "--state", "cancelled").out == ""
    wrong = aiki("run", "list", "--state", "zebra")
    assert (wrong.code, "expected one of scheduled" in wrong.err) == (2, True)
    assert "did you mean 'completed'?" in aiki("run", "list", "--state", "complete").err
    assert "did you mean 'failing'?" in aiki("run", "list", "--workflow", "Failing_").err


def test_a_run_is_shown_with_its_input_and_its_story(aiki, worker):
    run_id = aiki("enqueue", "hello", "name=Grace", "--wait", "-o", "json").json["id"]
    assert aiki("run", "show", run_id, "-o", "json").json["input"] == {"name": "Grace"}
    page = aiki("run", "show", run_id, "-o", "table").out
    assert "Grace" in page
    assert "HELLO GRACE" in page
    story = aiki("run", "history", run_id, "-o", "json").json["history"]
    assert story[0]["move"] == "enqueued"
    assert story[-1]["state"] == "completed"
    assert [entry["value"] for entry in story if entry["move"] == "entry"] == ["HELLO GRACE"]
    assert len(aiki("run", "history", run_id).lines) == len(story)
    assert "enqueued" in aiki("run", "history", run_id, "-o", "table").out


def test_a_failed_run_shows_the_users_traceback(aiki, worker):
    run_id = aiki("enqueue", "failing", "reason=no luck", "--wait", "-o", "json").json["id"]
    page = aiki("run", "show", run_id, "-o", "table").out
    assert "no luck" in page
    assert "flows.py" in page


def test_a_completed_run_cannot_be_resumed(aiki, worker):
    run_id = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    assert aiki("run", "resume", run_id).code == 6


def test_a_closed_pipe_is_silent(environment, flows, aiki, worker):
    for _ in range(3):
        aiki("enqueue", "hello")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {' '.join(AIKI)} run list | head -c 0"],
        env=environment,
        cwd=flows,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_is_shown_with_who_has_tried_it_where_it_failed_and_whom_it_has_started(aiki, worker, flows):
    failed = aiki("enqueue", "failing", "reason=no luck", "--wait", "-o", "json").json["id"]
    shown = aiki("run", "show", failed, "-o", "json").json
    (claim,) = shown["attempts"]
    assert (claim["move"], bool(claim["actor"]), shown["newest_children"]) == ("claim", True, [])
    assert "flows.py" in shown["error"]["traceback"]
    gate = flows / "gate"
    gate.touch()
    parent = aiki("enqueue", "branch", f"gate={gate}", "leaves:=3", "--wait", "-o", "json").json["id"]
    shown = aiki("run", "show", parent, "-o", "json").json
    children = aiki("run", "list", "--parent", parent, "-o", "ids").lines
    assert ([child["id"] for child in shown["newest_children"]], shown["children"]) == (children, 3)
    page = aiki("run", "show", parent, "-o", "table").out
    assert all(child in page for child in children)
    assert "claims, and tries that failed" in page


def test_runs_are_listed_by_keys_times_and_what_refines(aiki, own):
    aiki = partial(aiki, env=own)
    keyed = [aiki("enqueue", "hello", "--key", key, "--delay", "1h").lines[0] for key in ("o-2", "o-10", "p-1")]
    bad = aiki("enqueue", "failing", "reason=x", "--priority", "3", "--wait", "-o", "json").json["id"]
    listed: list[tuple[tuple[str, ...], list[str]]] = [
        (("--key", "o-2"), [keyed[0]]),
        (("--key", "o-*"), [keyed[1], keyed[0]]),
        (("--key-prefix", "o-", "--workflow", "hello", "--version", "1"), [keyed[1], keyed[0]]),
        (("--error", "RuntimeError"), [bad]),
        (("--error", "Runtime"), []),
        (("--priority", "3", "--since", "1h", "--until", "0s"), [bad]),
        (("--until", "2020-01-01T00:00Z"), []),
    ]
    for words, found in listed:
        assert aiki("run", "list", *words, "-o", "ids").lines == found, words
    page = aiki("run", "list", "--key", "o-*", "--limit", "1", "-o", "json").json
    assert [run["id"] for run in page["runs"]] == [keyed[1]]
    assert aiki("run", "list", "--key", "o-*", "--cursor", page["cursor"], "-o", "ids").lines == [keyed[0]]
    excluded: list[tuple[tuple[str, ...], str]] = [
        (("--version", "1"), "--version is that of a workflow"),
        (("--since", "1h", "--until", "2h"), "no run is within"),
        (("--since", "soon"), "neither how long ago"),
        (("--key", "a", "--key-prefix", "b"), "one of both"),
        (("--key", "*"), "1 to 256 characters"),
        (("--cursor", "x"), "an earlier page of the same list"),
    ]
    for words, why in excluded:
        refused = aiki("run", "list", *words)
        assert (refused.code, refused.out, why in refused.err) == (2, "", True), (words, refused.err)
