"""`aiki why`, as a person who is woken at night types it: real workers, and what keeps their runs."""

from __future__ import annotations

import json
import signal

from tests.acceptance.cli.test_blocked import CODE
from tests.waiting import patient, wait_until_sync

NOWHERE = "0190b0a0-0000-7000-8000-000000000001"


def until(aiki, run_id: str, words: str, env, seconds: float = 30):
    """Return what `aiki why` says once these words are in it."""
    said = [aiki("why", run_id, "-o", "table", env=env)]

    def has() -> bool:
        said[0] = aiki("why", run_id, "-o", "table", env=env)
        return words in said[0].out

    wait_until_sync(has, seconds, what=f"{words!r} in {said[0]}")
    return said[0]


def test_an_event_is_waited_for_and_the_hint_moves_the_run(aiki, own):
    run_id = aiki("enqueue", "asking", "--key", "a", env=own).lines[0]
    until(aiki, run_id, ", in the memory of worker ", own)
    said = until(aiki, "asking@a", "… waiting", own)
    assert said.code == 0
    assert said.out.splitlines()[1].startswith("It waits for event 'approved'")
    assert said.out.splitlines()[0] == f"… waiting  asking 1  {run_id}"
    assert said.err.strip() == f"hint: aiki event send {run_id} approved"
    shown = aiki("why", run_id, "-o", "json", env=own).json
    assert (shown["id"], shown["state"], shown["path"]) == (run_id, "waiting", [run_id])
    assert (shown["reasons"][0]["kind"], shown["reasons"][0]["facts"]["names"]) == ("event", ["approved"])
    assert shown["sentence"].startswith("waits for event 'approved'")
    status = aiki("status", run_id, "-o", "json", env=own).json
    assert status["why"].startswith("waits for event 'approved'")
    assert aiki("status", run_id, "-o", "table", env=own).out.count("waits for event 'approved'") == 1
    assert aiki("run", "history", run_id, "-o", "json", env=own).json["why"].startswith("waits for event 'approved'")
    assert aiki("run", "history", run_id, "-o", "table", env=own).lines[-1].startswith("now it waits for event 'app")
    cells = aiki("why", run_id, env=own).lines[0].split("\t")
    assert cells[:2] == [run_id, "event"]
    assert aiki(*said.err.split()[2:], "-p", '"alice"', env=own).code == 0
    assert aiki("wait", run_id, env=own).code == 0
    ended = aiki("why", run_id, "-o", "jsonl", env=own)
    assert [json.loads(line)["kind"] for line in ended.lines] == ["ended"]


def test_a_tree_is_followed_to_the_task_in_which_it_stands(aiki, own, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "tree", f"gate={gate}", "leaves:=3", env=own).lines[0]
    until(aiki, run_id, "they wait for one another", own)
    wait_until_sync(
        lambda: len(aiki("why", run_id, "-o", "json", env=own).json["path"]) == 3, 30, what="the whole path"
    )
    shown = aiki("why", run_id, "-o", "json", env=own).json
    assert shown["leaf"][0]["kind"] in ("running", "task")
    assert "3 of 3 children still run" in aiki("why", shown["path"][1], env=own).out
    gate.touch()


def test_a_backlog_behind_a_worker_that_is_busy(aiki, start, namespace, flows):
    env = {"AIKI_NAMESPACE": namespace}
    start("worker", "start", "-m", "flows", "--max-concurrent-runs", "1", env=env).wait_for_log("serves")
    gate = flows / "gate"
    aiki("enqueue", "held", f"gate={gate}", env=env)
    wait_until_sync(lambda: "running" in aiki("status", env=env).out, 20, what="the one that is held")
    for priority, number in ((5, 400), (0, 600)):
        rows = "".join(json.dumps({"gate": str(gate)}) + "\n" for _ in range(number))
        done = aiki("enqueue", "held", "--from", "-", "--priority", str(priority), stdin=rows, env=env)
        assert (done.code, len(done.lines)) == (0, number), done.err
    run_id = aiki("enqueue", "held", f"gate={gate}", env=env).lines[0]
    shown = aiki("why", run_id, "-o", "json", env=env).json
    (reason,) = shown["reasons"]
    assert (reason["kind"], reason["facts"]["ahead"], reason["facts"]["higher"]) == ("behind", 1_000, 400)
    assert "behind 1,000 runs (400 of higher priority, 600 earlier)" in shown["sentence"]
    assert "the one live worker that serves it holds 1 run" in shown["sentence"]
    assert shown["hint"] == "aiki worker start -m MODULE"


def test_nobody_serves_it_and_then_somebody_does_another_version(aiki, start, namespace, flows):
    env = {"AIKI_NAMESPACE": namespace}
    (flows / "later.py").write_text(CODE.replace('"changing", version="1"', '"sleeper", version="2"'))
    first = start("worker", "start", "-m", "flows", env=env)
    first.wait_for_log("serves")
    assert first.terminate(signal.SIGTERM) == 0
    run_id = aiki("enqueue", "sleeper", env=env).lines[0]
    said = aiki("why", run_id, "-o", "table", env=env)
    assert "no live worker serves sleeper 1; the last that did has ended at " in said.out
    assert said.err.strip() == "hint: aiki worker start -m MODULE"
    start("worker", "start", "-m", "later", env=env).wait_for_log("serves")
    said = aiki("why", run_id, "-o", "table", env=env)
    assert "no live worker serves sleeper 1; live ones serve version 2 of it; the last that did has ended" in said.out


def test_a_frozen_worker_is_told_before_its_lease_is_over(aiki, start, namespace, flows):
    env = {"AIKI_NAMESPACE": namespace}
    lease = patient(9)
    worker = start("worker", "start", "-m", "flows", "--lease", f"{lease:g}s", env=env)
    worker.wait_for_log("serves")
    run_id = aiki("enqueue", "held", f"gate={flows / 'gate'}", env=env).lines[0]
    wait_until_sync(lambda: "running" in aiki("status", run_id, env=env).out, 20, what="the run")
    worker.pause()
    try:
        said = until(aiki, run_id, "it is frozen, dead or cut off", env, seconds=2 * lease)
    finally:
        worker.resume()
    assert "has not renewed its lease for " in said.out
    assert said.err.strip() == "hint: aiki worker list"


def test_a_divergence_is_told_with_its_diff_and_with_what_replays_it(aiki, start, flows, namespace):
    env = {"AIKI_NAMESPACE": namespace}
    module, gate = flows / "changing.py", flows / "gate"
    command = ["worker", "start", "-m", "changing", "--drain", "100ms"]
    module.write_text(CODE)
    first = start(*command, env=env)
    first.wait_for_log("serves")
    run_id = aiki("enqueue", "changing", f"gate={gate}", env=env).lines[0]
    wait_until_sync(lambda: "entry" in aiki("run", "history", run_id, env=env).out, 20, what="the first result")
    assert first.terminate(signal.SIGTERM) == 0
    module.write_text(CODE.replace("await one.run", "await other.run"))
    start(*command, env=env).wait_for_log("serves")
    said = until(aiki, run_id, "is blocked", env)
    assert "task:one" in said.out
    assert "task:other" in said.out
    assert said.err.strip() == f"hint: aiki replay {run_id} -m MODULE"


def test_who_has_paused_a_run_and_its_schedule_is_told(aiki, own):
    created = aiki("schedule", "create", "nightly", "sleeper", "--version", "1", "--every", "1h", env=own)
    assert created.code == 0, created.err
    run_id = aiki("schedule", "trigger", "nightly", "-o", "ids", env=own).lines[0]
    until(aiki, run_id, "sleeps until", own)
    assert aiki("schedule", "pause", "nightly", "--note", "a bad day", env=own).code == 0
    assert aiki("run", "pause", run_id, "--reason", "until the bank is back", env=own).code == 0
    said = until(aiki, run_id, "is paused by", own)
    assert ": until the bank is back." in said.out
    assert "  - it is of schedule nightly, which is paused and fires nothing more: a bad day" in said.out
    assert said.err.strip() == f"hint: aiki run resume {run_id}"


def test_a_run_that_is_not_there_is_5_and_none_is_usage(aiki, own):
    assert aiki("why", NOWHERE, env=own).code == 5
    assert aiki("why", env=own).code == 2
