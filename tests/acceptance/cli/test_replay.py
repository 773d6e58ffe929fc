"""Runs of a server, replayed on the code at hand by the command line: what it finds, says and leaves alone."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.waiting import wait_until_sync

FLOWS = """
import asyncio
from aiki import Event, WorkflowRun, task, workflow

print("a module speaks")
approved = Event("approved", type=str)

@task
async def charge(order: str) -> str:
    return f"paid {order}"

@task
async def ship(order: str) -> str:
    return f"shipped {order}"

@workflow(name="order", version="1", events=[approved])
async def order(run: WorkflowRun, id: str) -> str:
    print("a body speaks")
    run.log.warning("a log speaks")
    paid = await charge.run(run, id)
    who = await run.wait_for(approved)
    return await ship.run(run, id)
"""


@pytest.fixture
def recorded(aiki, start, flows, namespace):
    """A worker that has left one run of `order` that has ended, and one that waits; their ids."""
    own = {"AIKI_NAMESPACE": namespace}
    (flows / "replayed.py").write_text(FLOWS)
    worker = start("worker", "start", "-m", "replayed", env=own)
    worker.wait_for_log("serves")
    ended, waiting = (aiki("enqueue", "order", f"id={name}", env=own).lines[0] for name in "ab")
    assert aiki("event", "send", ended, "approved", "-p", '"alice"', env=own).code == 0
    assert aiki("wait", ended, "--timeout", "30s", env=own).code == 0
    wait_until_sync(lambda: '"waiting"' in aiki("status", waiting, "-o", "json", env=own).out, 30)
    assert worker.terminate(signal.SIGTERM) == 0
    return own, ended, waiting


def test_runs_are_replayed_from_a_server_and_what_their_code_says_is_no_result(aiki, flows, recorded):
    own, ended, waiting = recorded
    before = aiki("run", "export", ended, waiting, env=own).lines[1:]
    same = aiki("replay", "--since", "1h", "-m", "replayed", "--strict", env=own)
    assert same.code == 0, same
    assert {line.split("\t")[0] for line in same.lines} == {ended, waiting}
    assert all("\tcompatible\t" in line for line in same.lines)
    assert "speaks" not in same.out + same.err
    assert "2 runs, 4 entries: 2 compatible" in same.err

    (flows / "replayed.py").write_text(FLOWS.replace("charge.run(run, id)", "charge.run(run, id + '!')"))
    changed = aiki("replay", ended, waiting, "-m", "replayed", "-o", "json", env=own)
    assert changed.code == 1, changed
    assert changed.json["diverges"] == changed.json["runs"] == 2
    verdict = next(one for one in changed.json["verdicts"] if one["id"] == waiting)
    assert verdict["entry"] == 1
    assert verdict["recorded"].startswith("task charge")
    assert verdict["asked"].endswith('with {"order":"b!"}')
    assert verdict["file"] == str(flows / "replayed.py")
    assert verdict["line"] == 1 + FLOWS.splitlines().index("    paid = await charge.run(run, id)")
    assert verdict["function"] == "order"
    ids = aiki("replay", "--workflow", "order", "-m", "replayed", "-o", "ids", env=own)
    assert (ids.code, set(ids.lines)) == (1, {ended, waiting})
    shown = aiki("replay", "--state", "waiting", "-m", "replayed", "-o", "table", env=own)
    assert shown.code == 1
    assert "the first that diverges" in shown.out
    assert "probably the input of charge has changed" in shown.out
    assert aiki("run", "export", ended, waiting, env=own).lines[1:] == before


def test_only_what_diverges_fails_it_unless_it_is_strict(aiki, flows, recorded):
    own, ended, waiting = recorded
    (flows / "replayed.py").write_text(
        FLOWS.replace("    return await ship.run(run, id)", "    return who  # and nothing is shipped")
    )
    removed = aiki("replay", waiting, "-m", "replayed", env=own)
    assert (removed.code, removed.err.strip()) == (0, "1 run, 1 entry: 1 compatible")
    (flows / "replayed.py").write_text(FLOWS.replace("await run.wait_for(approved)", '"nobody"'))
    unawaited = aiki("replay", waiting, "-m", "replayed", env=own)
    assert unawaited.code == 0
    assert "would go on differently" in unawaited.out
    assert "it waits for event 'approved'; the code at hand asks for task ship" in unawaited.out
    assert aiki("replay", waiting, "-m", "replayed", "--strict", env=own).code == 1
    assert aiki("replay", ended, "-m", "replayed", env=own).code == 1


def test_an_event_that_was_renamed_is_told_of_who_waits_for_it(aiki, flows, recorded, tmp_path):
    own, _, waiting = recorded
    (flows / "replayed.py").write_text(FLOWS.replace('Event("approved"', 'Event("confirmed"'))
    file = tmp_path / "waiting.jsonl"
    assert aiki("run", "export", waiting, "--to", str(file), env=own).code == 0
    for of in (("--state", "waiting"), ("--file", str(file))):
        found = aiki("replay", *of, "-m", "replayed", "--strict", "-o", "jsonl", env=own)
        assert found.code == 1, found
        (verdict,) = (json.loads(line) for line in found.lines)
        assert verdict["verdict"] == "would go on differently"
        assert verdict["why"] == "it waits for event 'approved'; the code at hand waits for event 'confirmed'"
        assert verdict["recorded"] == "waits for event 'approved'"
        assert verdict["asked"].startswith("event confirmed")
        assert verdict["line"] == 1 + FLOWS.splitlines().index("    who = await run.wait_for(approved)")


def test_versions_are_those_of_the_runs_unless_another_is_named(aiki, flows, recorded):
    own, ended, _ = recorded
    second = FLOWS.replace('version="1"', 'version="2"')
    (flows / "replayed.py").write_text(second)
    unknown = aiki("replay", ended, "-m", "replayed", env=own)
    assert unknown.code == 0
    assert "needs workflow 'order' version '1': the code at hand has 2" in unknown.out
    moved = aiki("replay", ended, "-m", "replayed", "--as-version", "2", "-o", "jsonl", env=own)
    verdict = json.loads(moved.out)
    assert (verdict["version"], verdict["as_version"], verdict["verdict"]) == ("1", "2", "compatible")
    none = aiki("replay", "--version", "2", "-m", "replayed", env=own)
    assert (none.code, none.out, none.err.strip()) == (0, "", "no run was found to replay")
    assert len(aiki("replay", "--version", "1", "--sample", "1", "-m", "replayed", env=own).lines) == 1
    assert len(aiki("replay", "--sample", "5", "-m", "replayed", env=own).lines) == 2


def test_what_cannot_be_replayed_is_refused_with_the_way_to_do_it(aiki, flows, namespace, tmp_path):
    own = {"AIKI_NAMESPACE": namespace}
    (flows / "replayed.py").write_text(FLOWS)
    for arguments, code, words in (
        ([], 2, "no run is named"),
        (["--since", "7d", "x" * 8], 2, "one of these"),
        (["--state", "queud"], 2, "did you mean 'queued'"),
        (["--run-timeout", "soon", "--since", "7d"], 2, "soon"),
        (["--run-timeout", "0s", "--since", "7d"], 2, "--run-timeout 10s"),
        (["019b76da-a800-7000-8000-00000000000e"], 5, "does not exist"),
        (["--file", str(tmp_path / "none.jsonl")], 66, "cannot read"),
        (["--since", "7d", "-m", "nonesuch"], 78, "nonesuch"),
        (["--since", "7d", "--url", "nats://127.0.0.1:1"], 69, "127.0.0.1:1"),
    ):
        refused = aiki("replay", *arguments, *([] if "nonesuch" in arguments else ["-m", "replayed"]), env=own)
        assert refused.code == code, (arguments, refused)
        assert words in refused.err, (arguments, refused)
    file = tmp_path / "runs.jsonl"
    file.write_text("nonsense\n")
    refused = aiki("replay", "--file", str(file), "-m", "replayed", env=own)
    assert refused.code == 65, refused


def test_ctrl_c_ends_all_that_replay(aiki, start, flows, recorded):
    own, ended, waiting = recorded
    (flows / "replayed.py").write_text(FLOWS.replace("    paid = await", "    while True: pass\n    paid = await"))
    program = start("replay", ended, waiting, "-m", "replayed", "--run-timeout", "100s", "--jobs", "2", env=own)
    children = wait_until_sync(lambda: _children(program.pid), 20)
    assert program.terminate(signal.SIGINT) == 130
    wait_until_sync(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 10)


def _children(pid):
    """Return the two processes that replay, once both are there."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    replaying = [one for one in found if b"aiki.replay.child" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return replaying if len(replaying) == 2 else []
