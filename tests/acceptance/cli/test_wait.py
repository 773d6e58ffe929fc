"""`aiki wait`, and `--wait`: what came of runs, and the exit code that tells it."""

from __future__ import annotations


def test_a_failed_run_is_exit_code_1_with_its_error(aiki, worker):
    done = aiki("enqueue", "failing", "reason=no luck", "--wait")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: run ")
    assert "no luck" in done.err
    shown = aiki("enqueue", "failing", "reason=no luck", "--wait", "-o", "json")
    assert (shown.code, shown.json["outcome"]) == (1, "failed")
    assert "no luck" in shown.json["error"]["message"]


def test_our_timeout_is_not_the_runs(aiki, worker):
    done = aiki("enqueue", "sleeper", "--wait", "--timeout", "300ms")
    assert done.code == 124
    assert "it goes on" in done.err


def test_several_waits_print_a_line_each_and_the_highest_code(aiki, worker):
    good = aiki("enqueue", "hello").lines[0]
    bad = aiki("enqueue", "failing", "reason=x").lines[0]
    slow = aiki("enqueue", "sleeper").lines[0]
    done = aiki("wait", good, bad)
    assert done.code == 1
    assert {tuple(line.split("\t")[:2]) for line in done.lines} == {(good, "completed"), (bad, "failed")}
    assert aiki("wait", good, slow, "--timeout", "200ms").code == 124
    first = aiki("wait", slow, good, "--any")
    assert (first.code, [line.split("\t")[0] for line in first.lines]) == (0, [good])


def test_an_unknown_run_is_exit_code_5(aiki, worker):
    done = aiki("wait", "0199aaaa-0000-7000-8000-000000000000")
    assert done.code == 5
    assert aiki("status", "hello@nobody").code == 5
