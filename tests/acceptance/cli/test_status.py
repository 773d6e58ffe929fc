"""`aiki status`: runs as they are and as they change, and the summary of all."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time

from tests.acceptance.cli.conftest import AIKI
from tests.waiting import patient, wait_until_sync

COLUMNS = [
    "id",
    "state",
    "workflow",
    "version",
    "created_at",
    "started_at",
    "finished_at",
    "due_at",
    "attempt",
    "claims",
    "tasks",
    "key",
    "why",
]


def test_a_status_is_tsv_off_a_terminal(aiki, worker):
    run_id = aiki("enqueue", "hello", "--key", "k").lines[0]
    aiki("wait", run_id)
    (line,) = aiki("status", run_id).lines
    run = dict(zip(COLUMNS, line.split("\t"), strict=True))
    assert (run["id"], run["state"], run["workflow"], run["version"]) == (run_id, "completed", "hello", "1")
    assert (run["tasks"], run["key"], run["attempt"], run["claims"]) == ("1", "k", "1", "1")
    assert run["finished_at"].endswith("Z")


def test_a_status_is_an_object_and_several_are_a_list(aiki, worker):
    ids = [aiki("enqueue", "hello", "--wait", "-o", "json").json["id"] for _ in range(2)]
    assert aiki("status", ids[0], "-o", "json").json["result"] == "HELLO ADA"
    assert [run["id"] for run in aiki("status", *ids, "-o", "json").json["runs"]] == ids
    assert [json.loads(line)["id"] for line in aiki("status", *ids, "-o", "jsonl").lines] == ids
    assert aiki("status", *ids, "-o", "ids").lines == ids
    table = aiki("status", *ids, "-o", "table")
    assert "✓ completed" in table.out
    assert ids[0] in table.out
    assert "\033" not in table.out


def test_exit_status_tells_the_state(aiki, worker):
    slow = aiki("enqueue", "sleeper").lines[0]
    bad = aiki("enqueue", "failing", "reason=x").lines[0]
    aiki("wait", bad)
    assert aiki("status", bad).code == 0
    assert aiki("status", bad, "--exit-status").code == 1
    assert aiki("status", slow, "--exit-status").code == 8


def test_a_watch_writes_a_line_per_change_until_the_end(aiki, start, worker, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}").lines[0]
    watch = start("status", run_id, "--watch", "--exit-status", "-o", "jsonl")
    wait_until_sync(lambda: '"running"' in watch.printed(), what="the first line")
    gate.touch()
    assert watch.wait() == 0
    states = [json.loads(line)["state"] for line in watch.printed().splitlines()]
    assert states[-1] == "completed"
    assert "running" in states


def test_a_watch_says_which_task_is_tried_again_and_why(aiki, start, worker):
    run_id = aiki("enqueue", "stumbling").lines[0]
    watch = start("status", run_id, "--watch")
    wait_until_sync(lambda: "task stumble" in watch.printed(), what="the wait for the retry")
    run = dict(zip(COLUMNS, watch.printed().splitlines()[-1].split("\t"), strict=True))
    assert run["state"] == "running"
    assert run["why"].endswith(": task stumble failed at attempt 1: TimeoutError: no answer")
    assert run["due_at"] > run["started_at"]
    assert watch.terminate(signal.SIGINT) == 130


def test_a_watch_says_how_far_a_task_is(aiki, start, worker, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "copying", f"gate={gate}").lines[0]
    watch = start("status", run_id, "--watch")
    wait_until_sync(lambda: "copy 40% files" in watch.printed(), what="its first word")
    (flows / "gate-0.4").touch()
    wait_until_sync(lambda: "copy 80% files" in watch.printed(), what="its second word")
    (said,) = aiki("status", run_id, "-o", "json").json["progress"]
    assert (said["task"], said["attempt"], said["fraction"], said["message"]) == ("copy", 1, 0.8, "files")
    (flows / "gate-0.8").touch()
    assert watch.wait() == 0
    assert dict(zip(COLUMNS, watch.printed().splitlines()[-1].split("\t"), strict=True))["why"] == ""


def test_what_a_run_shows_of_itself_is_followed_and_stays_when_it_has_ended(aiki, start, worker, flows):
    run_id = aiki("enqueue", "showing", f"gate={flows / 'gate'}").lines[0]
    watch = start("status", run_id, "--watch")
    wait_until_sync(lambda: '{"step":"one"}' in watch.printed(), what="its first word")
    (flows / "gate-one").touch()
    wait_until_sync(lambda: '{"step":"two"}' in watch.printed(), what="its second word")
    assert '"step": "two"' in aiki("status", run_id, "-o", "table").out
    (flows / "gate-two").touch()
    assert watch.wait() == 0
    assert dict(zip(COLUMNS, watch.printed().splitlines()[-1].split("\t"), strict=True))["why"] == ""
    assert aiki("status", run_id, "-o", "json").json["details"] == {"step": "two"}
    assert '"step": "two"' in aiki("run", "show", run_id, "-o", "table").out


def test_ctrl_c_detaches_and_cancels_nothing(aiki, start, worker, flows):
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}").lines[0]
    watch = start("status", run_id, "--watch")
    wait_until_sync(lambda: "running" in watch.printed(), what="the first line")
    assert watch.terminate(signal.SIGINT) == 130
    assert f"the run goes on: aiki status {run_id} --watch" in watch.logged()
    waiting = start("wait", run_id)
    gate.touch()
    assert waiting.wait() == 0
    slow = aiki("enqueue", "sleeper").lines[0]
    detached = start("status", slow, "--watch")
    wait_until_sync(lambda: slow in detached.printed(), what="the first line")
    assert detached.terminate(signal.SIGTERM) == 143


def test_the_summary_counts_runs_and_workers(aiki, own):
    for _ in range(3):
        aiki("enqueue", "hello", "--wait", env=own)
    aiki("enqueue", "hello", "--delay", "1h", env=own)
    summary = aiki("status", "-o", "json", env=own).json
    counts = {(count["workflow"], count["state"]): count["runs"] for count in summary["counts"]}
    assert counts == {("hello", "completed"): 3, ("hello", "scheduled"): 1}
    assert summary["workers"] == 1
    assert sorted(aiki("status", env=own).lines) == ["hello\t1\tcompleted\t3", "hello\t1\tscheduled\t1"]


def test_what_runs_take_up_is_shown_by_table_and_by_workflow(aiki, own, environment, flows, worker):
    for _ in range(3):
        aiki("enqueue", "hello", "--wait", env=own)
    found = aiki("status", "--storage", "-o", "json", env=own).json
    # Of a sample, if others have filled the database: then this namespace may have no run in it.
    sizes = [(size["workflow"], size["runs"], size["ended"]) for size in found["workflows"]]
    assert sizes == [("hello", 3, 3)] or not found["exact"]
    assert sum(table["bytes"] + table["index_bytes"] for table in found["tables"]) == found["total_bytes"]
    kinds = {line.split("\t")[0] for line in aiki("status", "--storage", env=own).lines}
    assert "table" in kinds <= {"table", "workflow"}
    shown = on_a_terminal([*AIKI, "status", "--storage"], {**environment, **own}, str(flows))
    assert "RETENTION FREES" in shown
    assert aiki("status", "--storage", "--watch", env=own).code == 2


def test_a_terminal_gets_a_table_and_no_colour_if_asked(environment, flows, aiki, worker):
    aiki("enqueue", "hello", "--wait")
    shown = on_a_terminal([*AIKI, "run", "list"], {**environment, "TERM": "xterm-256color"}, str(flows))
    assert "WORKFLOW" in shown
    assert "✓ completed" in shown
    plain = on_a_terminal([*AIKI, "status"], {**environment, "TERM": "dumb", "NO_COLOR": "1"}, str(flows))
    assert "1 worker" in plain
    assert "\033[3" not in plain


def on_a_terminal(command: list[str], env: dict[str, str], cwd: str) -> str:
    """Run `command` on a terminal of its own and return what it drew."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=cwd)
    os.close(theirs)
    drawn = b""
    deadline = time.monotonic() + patient(30)
    while time.monotonic() < deadline and select.select([ours], [], [], deadline - time.monotonic())[0]:
        try:
            drawn += os.read(ours, 65536)
        except OSError:  # its other end is closed
            break
    os.close(ours)
    assert process.wait(10) == 0
    return drawn.decode()
