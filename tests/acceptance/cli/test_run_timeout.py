"""`aiki enqueue --run-timeout`: a run that has not ended by then has failed, which has an exit code of its own."""

from __future__ import annotations


def test_a_run_that_nobody_takes_up_in_time_is_exit_code_4(aiki, start, namespace):
    own = {"AIKI_NAMESPACE": namespace}
    known = start("worker", "start", "-m", "flows", env=own)
    known.wait_for_log("serves")
    known.close()
    done = aiki("enqueue", "hello", "--run-timeout", "200ms", "--wait", env=own)
    assert (done.code, done.out) == (4, "")
    assert "timed out: its deadline passed at" in done.err
    shown = aiki("enqueue", "hello", "--run-timeout", "200ms", "--wait", "-o", "json", env=own)
    assert (shown.code, shown.json["outcome"], shown.json["error"]["type"]) == (4, "failed", "RunTimedOut")
    run = aiki("status", shown.json["id"], "--exit-status", "-o", "json", env=own)
    assert (run.code, run.json["state"], run.json["claims"]) == (4, "failed", 0)
    assert run.json["created_at"] < run.json["deadline"] <= run.json["finished_at"]
    (_, last) = aiki("run", "history", shown.json["id"], "-o", "json", env=own).json["history"]
    assert (last["move"], last["state"]) == ("time_out", "failed")


def test_a_run_that_ends_in_time_is_none_the_worse_for_its_timeout(aiki, worker):
    assert aiki("enqueue", "hello", "--run-timeout", "1h", "--cancel-timeout", "1m", "--wait").out == '"HELLO ADA"\n'
    slow = aiki("enqueue", "sleeper", "--run-timeout", "1h").lines[0]
    assert "deadline" in aiki("status", slow, "-o", "table").out


def test_a_manifest_gives_timeouts_to_the_runs_of_a_workflow(aiki, start, flows, namespace):
    own = {"AIKI_NAMESPACE": namespace}
    (flows / "aiki.yaml").write_text("aiki: 1\nmodules: {flows: [flows]}\nworkflows: {hello: {timeout: 200ms}}\n")
    known = start("worker", "start", env=own)
    known.wait_for_log("serves")
    known.close()
    assert aiki("enqueue", "hello", "--wait", env=own).code == 4
    slow = aiki("enqueue", "hello", "--run-timeout", "1h", env=own).lines[0]
    assert aiki("wait", slow, "--timeout", "300ms", env=own).code == 124


def test_a_timeout_that_makes_no_sense_is_refused(aiki, worker):
    for arguments, message in (
        (["--run-timeout", "soon"], "soon"),
        (["--run-timeout", "0s"], "longer than 0"),
        (["--cancel-timeout", "-1m"], "not a duration"),
    ):
        done = aiki("enqueue", "hello", *arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert message in done.err
