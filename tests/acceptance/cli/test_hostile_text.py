"""Hostile text in every place where a reply has any, through every command, in every mode, to pipes and terminals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import nats as nats_py
import pytest
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from aiki.process.visible import lines
from aiki_cli import app
from aiki_cli.view.output import Mode
from aiki_cli.view.runs import TSV_COLUMNS
from tests.servers import Nats
from tests.waiting import patient

EVIL = (
    "a\x1b[31mEVIL\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil\x1b\\b\x9b31mc\x85d\x7fe"
    "\u202ef\u2066g\u200eh\u061ci\u2028j\u2029k\u200bl\tm\nn\ro\vp\fq[red]r[/red]\U000e0041"
)
RUN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NOW = 1_700_000_000_000_000
FAILURE = {"type": EVIL, "message": EVIL, "traceback": EVIL, "cause": EVIL, "task": EVIL, "attempts": 3}
STATES: dict[str, dict[str, Any]] = {
    "completed": {"output": {EVIL: [EVIL]}, "finished_at": NOW},
    "failed": {"error": FAILURE, "finished_at": NOW},
    "blocked": {"why": EVIL},
    "retrying": {"why": EVIL, "due_at": 2 * NOW},
    "running": {"worker": EVIL},
}
BUILD = cache(app.build)
ENDED = ("completed", "failed", "blocked")
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?(?:25|7)[lh]|\x1b\[[0-9]{1,2}A|\x1b\[2K|\x1b\[[KJ]|\r")
"""What we send to a terminal ourselves: colours, and the redrawing of a bar or a live view."""


def run_of(state: str, run_id: str = RUN_ID) -> dict[str, Any]:
    return {
        "id": run_id,
        "workflow": EVIL,
        "version": EVIL,
        "state": state,
        "created_at": NOW,
        "started_at": NOW,
        "key": EVIL,
        "labels": {EVIL: EVIL},
        **STATES[state],
    }


def feed_of(state: str, run_id: str) -> dict[str, Any]:
    """Return a run in full."""
    key = f"task:{EVIL}:d:1"
    return {
        "now": NOW,
        "run": run_of(state, run_id),
        "since": 0,
        "journal_seq": 1,
        "history_seq": 1,
        "outcomes": [[1, f"{key}0", False, NOW, NOW, 2, EVIL, EVIL, EVIL]],
        "open": [[key, "running", 2, NOW, None, EVIL, 0.5, EVIL, EVIL]],
        "done": 1,
        "failed": 1,
        "children": {"running": 1},
    }


def schedule_of(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "schedule": {
            "id": RUN_ID,
            "name": EVIL,
            "workflow": EVIL,
            "version": EVIL,
            "input": {EVIL: EVIL},
            "spec": {**spec, "timezone": EVIL},
            "options": {"labels": {EVIL: EVIL}},
            "project": EVIL,
        },
        "created_at": NOW,
        "updated_at": NOW,
        "revision": 1,
        "note": EVIL,
        "paused": True,
        "served": False,
    }


SCHEDULES = [schedule_of({"every": 1_000_000}), schedule_of({"cron": EVIL}), schedule_of({"at": 2**62})]
SLOTS = [{"slot": NOW, "at": NOW, "result": result, "reason": EVIL, "run_id": EVIL} for result in ("started", "failed")]


def answer_of_schedules(op: str, request: dict[str, Any]) -> dict[str, Any]:
    match op:
        case "schedule_put":
            result = "exists" if request["schedule"]["name"] == "taken" else "created"
            return {"result": result, "info": SCHEDULES[1], "reason": EVIL}
        case "schedule_list":
            return {"schedules": SCHEDULES}
        case "schedule_show":
            return {"info": SCHEDULES[1], "slots": SLOTS}
        case "schedule_order":
            return {"outcomes": [{"result": "unknown" if n % 2 else "done"} for n, _ in enumerate(request["names"])]}
        case "schedule_trigger":
            return {"slots": SLOTS[:1] if request["name"] == "nightly" else SLOTS[1:]}
        case "schedule_backfill":
            return {"slots": SLOTS}
        case "schedule_next":
            return {"slots": [[2**62, 2**62]]}
    raise AssertionError(op)


SESSION: Final = {"worker": EVIL, "id": EVIL, "since": NOW, "seen_at": NOW, "slots": 1, "routes": [[EVIL, EVIL]]}


def answer(op: str, request: dict[str, Any], state: str) -> dict[str, Any]:
    """Return what a daemon might answer that means harm."""
    item = {"at": NOW, "move": EVIL, "state": state, "reason": EVIL, "actor": EVIL, "key": EVIL, "ok": False}
    route = {"workflow": EVIL, "version": EVIL, "task_names": [EVIL]}
    match op:
        case "status" | "watch":
            return {"runs": [run_of(state, run_id) for run_id in request["ids"]]}
        case "list":
            return {"runs": [run_of(each, EVIL) for each in STATES]}
        case "find":
            return {"ids": [EVIL] if request["reference"] != "several" else [EVIL, EVIL]}
        case "history":
            return {"items": [{**item, "value": {EVIL: EVIL}}, {**item, "ok": True, "value": EVIL}]}
        case "input":
            return {"input": {EVIL: EVIL}}
        case "pause" | "resume" | "wake" | "cancel" | "retry":
            results = ("done", "refused") if op != "retry" else ("done", "once", "busy", "unfit", "retried")
            told = {"state": state, "run_id": EVIL, "names": [EVIL], "children": [EVIL]}
            return {"outcomes": [{**told, "result": results[n % len(results)]} for n, _ in enumerate(request["ids"])]}
        case "summary" | "follow_namespace":
            return {"rows": [{"workflow": EVIL, "version": EVIL, "state": state, "runs": 1}], "workers": 1}
        case "workflows":
            return {"routes": [route] if request.get("workflow") != "twice" else [route, route]}
        case "enqueue":
            refused = {"id": EVIL, "error": {"code": "conflict", "message": EVIL}}
            return {
                "runs": [
                    refused if run.get("options", {}).get("key") == "refused" else {"id": EVIL}
                    for run in request["runs"]
                ]
            }
    return answer_of_insight(op, request, state) or answer_of_schedules(op, request)


def answer_of_insight(op: str, request: dict[str, Any], state: str) -> dict[str, Any] | None:
    """Return the same of what people look into, None of other operations."""
    match op:
        case "follow":
            return {"runs": [feed_of(state, seen[0]) for seen in request["runs"]]}
        case "summary" | "follow_namespace":
            route = {"workflow": EVIL, "version": EVIL}
            counted = {**route, "state": state, "runs": 1}
            return {
                "rows": [counted],
                "workers": 1,
                "queues": [{**route, "queued": 2**62, "oldest_at": NOW}],
                "rates": [{"workflow": EVIL, "minutes": 1, "failed": 1, "p50": 1, "p95": 2**50}],
                "troubles": [{**route, "state": "blocked", "runs": 1, "run_id": EVIL, "at": NOW, "error": EVIL}],
                "sessions": [SESSION],
            }
        case "workers":
            return {"sessions": [SESSION]}
        case "delete":
            told = {"runs": 1, "other": EVIL, "state": "running"}
            results = ("live", "done", "held", "busy", "large")
            return {"outcomes": [{**told, "result": one} for one in results[: len(request["ids"])]]}
        case "why":
            kinds = ("blocked", "event", "child", "key", "task", "unserved", EVIL)
            told = {"run": EVIL, "names": [EVIL], "worker": EVIL, "actor": EVIL, "message": EVIL, "task": EVIL}
            explained = {"workflow": EVIL, "version": EVIL, "claims": 0, "path": [EVIL]}
            reasons = [{**told, "kind": kind} for kind in kinds]
            runs = [{**explained, "id": one, "state": "blocked", "reasons": reasons} for one in request["ids"]]
            return {"now": NOW, "runs": runs}
        case "storage":
            size = {"workflow": EVIL, "runs": 1, "bytes": 1, "ended": 1, "free_runs": 1, "free_bytes": 1}
            table = {"name": EVIL, "rows": 1, "bytes": 1, "index_bytes": 1}
            return {"tables": [table], "workflows": [size], "sampled": 1, "population": 1}
    return None


class HostileDaemon:
    """Answers for a namespace; `state` is what its runs are in, `error` the code of the error that all calls get."""

    def __init__(self, url: str) -> None:
        self.namespace = f"evil-{uuid.uuid4().hex[:8]}"
        self.state = "completed"
        self.error: str | None = None
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()

    @contextlib.contextmanager
    def answering(self) -> Iterator[HostileDaemon]:
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        thread.start()
        assert self._ready.wait(patient(10))
        yield self
        self._loop.call_soon_threadsafe(self._over.set)
        thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        connection: Connection = await nats_py.connect(self._url)
        await connection.subscribe(f"aiki.v1.{self.namespace}.api.*", cb=self._answer)
        await connection.flush()
        self._ready.set()
        await self._over.wait()
        await connection.close()

    async def _answer(self, message: Msg) -> None:
        op = message.subject.rpartition(".")[2]
        reply: dict[str, Any]
        if self.error is not None:
            reply = {"error": {"code": self.error, "message": f"{EVIL}\nhint: rm -rf ~", "hint": EVIL}}
        else:
            reply = {"ok": answer(op, json.loads(message.data), self.state)}
        await message.respond(json.dumps(reply).encode())


@pytest.fixture(scope="module")
def shared_daemon(nats: Nats) -> Iterator[HostileDaemon]:
    with HostileDaemon(nats.url).answering() as daemon:
        yield daemon


@pytest.fixture
def daemon(shared_daemon: HostileDaemon, nats: Nats, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HostileDaemon:
    monkeypatch.setenv("AIKI_URL", nats.url)
    monkeypatch.setenv("AIKI_NAMESPACE", shared_daemon.namespace)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", EVIL)
    shared_daemon.state, shared_daemon.error = "completed", None
    return shared_daemon


ROWS = "rows.jsonl"
READING = [
    ["status"],
    ["status", RUN_ID],
    ["status", RUN_ID, "workflow@key"],
    ["status", RUN_ID, "--watch"],
    ["status", RUN_ID, RUN_ID[::-1], "--watch"],
    ["status", "several"],
    ["status", "--storage"],
    ["worker", "list"],
    ["wait", RUN_ID],
    ["wait", RUN_ID, "workflow@key"],
    ["run", "list"],
    ["run", "show", RUN_ID],
    ["run", "history", RUN_ID],
    ["run", "resume", RUN_ID],
    ["run", "wake", RUN_ID],
    ["run", "cancel", RUN_ID],
    ["run", "pause", RUN_ID, "workflow@key"],
    ["run", "retry", RUN_ID],
    ["run", "delete", RUN_ID, "--yes"],
    ["run", "delete", RUN_ID],
    ["run", "retry", *[RUN_ID] * 5],
    ["enqueue", "flow", "a=b"],
    ["enqueue", "flow", "--key", "k"],
    ["enqueue", "flow", "--key", "refused"],
    ["enqueue", "flow", "--wait", "--timeout", "5s"],
    ["enqueue", "flow", "--from", ROWS, "--key-field", "id"],
    ["enqueue", "twice"],
    ["schedule", "list"],
    ["schedule", "show", "nightly"],
    ["schedule", "create", "nightly", "flow", "a=b", "--every", "1h"],
    ["schedule", "create", "taken", "flow", "--every", "1h"],
    ["schedule", "update", "nightly", "--every", "1h"],
    ["schedule", "trigger", "nightly"],
    ["schedule", "trigger", "refused"],
    ["schedule", "backfill", "nightly", "--from", "2020-01-01", "--to", "2020-01-02", "--yes"],
]
WRONG = [
    [EVIL],
    [f"--{EVIL}"],
    ["status", f"--{EVIL}"],
    ["status", "--namespace", EVIL, RUN_ID],
    ["status", "--url", EVIL, RUN_ID],
    ["wait", RUN_ID, "--timeout", EVIL],
    ["run", "list", "--state", EVIL],
    ["run", "list", "--label", EVIL],
    ["run", "list", "--since", EVIL],
    ["run", "list", "--limit", EVIL],
    ["run", "retry", RUN_ID, "--from", EVIL],
    ["run", "retry", RUN_ID, "--keep", EVIL],
    ["enqueue", EVIL],
    ["enqueue", "flow", EVIL],
    ["enqueue", "flow", f"{EVIL}:={EVIL}"],
    ["enqueue", "flow", "-p", EVIL],
    ["enqueue", "flow", "-p", f"@{EVIL}"],
    ["enqueue", "flow", "--from", EVIL],
    ["enqueue", "flow", "--key", EVIL],
    ["enqueue", "flow", "--label", f"{EVIL}={EVIL}"],
    ["enqueue", "flow", "--at", EVIL],
    ["enqueue", "flow", "--delay", EVIL],
    ["enqueue", "flow", "--on-conflict", EVIL],
    ["schedule", "show", EVIL],
    ["schedule", "create", EVIL, "flow", "--every", "1h"],
    ["schedule", "create", "nightly", EVIL, "--every", "1h"],
    ["schedule", "create", "nightly", "flow", "--cron", EVIL],
    ["schedule", "next", "--cron", f"{EVIL} * * * *"],
    ["schedule", "next", "--cron", "0 2 * * *", "--timezone", EVIL],
    ["schedule", "next", "--at", EVIL],
    ["schedule", "next", "--every", EVIL],
    ["schedule", "pause", "nightly", "--note", EVIL * 20],
    ["schedule", "backfill", "nightly", "--from", EVIL, "--to", EVIL],
    ["worker", "start", "-m", EVIL],
    ["worker", "start", "--drain", EVIL],
    ["dev", "--example", EVIL],
    ["completion", EVIL],
]


class Told:
    """What a command has written to its two streams."""

    def __init__(self, out: str, err: str) -> None:
        self.out = out
        self.err = err


@pytest.fixture(autouse=True)
def _commands_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tree of commands once for pipes and once for terminals: that is most of what a command takes."""
    monkeypatch.setattr(app, "build", BUILD)


@pytest.fixture
def tell(daemon: HostileDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `aiki` in this process, with files for its streams."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ROWS).write_text('{"id": "k"}\n{"id": "refused"}\n')

    def run(*arguments: str) -> Told:
        with (
            (tmp_path / "out").open("w+", encoding="utf-8", newline="") as out,
            (tmp_path / "err").open("w+", encoding="utf-8", newline="") as err,
            monkeypatch.context() as patch,
        ):
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with contextlib.suppress(SystemExit):  # Typer leaves so after a TAB
                app.run(arguments)
            out.seek(0)
            err.seek(0)
            return Told(out.read(), err.read())

    return run


@pytest.fixture
def draw(daemon: HostileDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `aiki` in this process on a terminal; return what it drew, without what Rich itself sends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "150")
    (tmp_path / ROWS).write_text('{"id": "k"}\n{"id": "refused"}\n')

    def run(*arguments: str) -> str:
        ours, theirs = pty.openpty()
        drawn: list[bytes] = []
        reader = threading.Thread(target=_read_all, args=(ours, drawn))
        reader.start()
        with os.fdopen(theirs, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            app.run(arguments)
        reader.join()
        os.close(ours)
        text = b"".join(drawn).decode()
        assert "\x1b[31mEVIL" not in text
        return OURS.sub("", text)

    return run


def _read_all(descriptor: int, drawn: list[bytes]) -> None:
    while True:
        try:
            drawn.append(os.read(descriptor, 65536))
        except OSError:  # its other end is closed
            return


def assert_tame(text: str) -> None:
    """Nothing in it steers: it is the same once more escaped."""
    assert text == lines(text)


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_no_reply_reaches_a_pipe_raw(tell, daemon, arguments, state):
    daemon.state = state
    for mode in Mode:
        told = tell(*arguments, "-o", mode)
        assert_tame(told.out)
        assert_tame(told.err)
        if mode is Mode.JSONL:
            assert all(json.loads(line) for line in told.out.splitlines())


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_no_reply_reaches_a_terminal_raw(draw, daemon, arguments, state):
    daemon.state = state
    drawn = draw(*arguments)
    assert_tame(drawn)
    assert "EVIL" in drawn


@pytest.mark.parametrize("code", ["usage", "conflict", "not_found", "payload", "unsupported", "internal", EVIL])
def test_no_error_of_a_reply_reaches_a_stream_raw_or_passes_for_our_hint(tell, draw, daemon, code):
    daemon.error = code
    for arguments in (["status"], ["status", RUN_ID], ["run", "history", RUN_ID], ["enqueue", "flow"], ["wait", "a@b"]):
        for mode in Mode:
            told = tell(*arguments, "-o", mode)
            assert_tame(told.out + told.err)
            if mode in {Mode.JSON, Mode.JSONL}:
                assert json.loads(told.err)["error"]["message"].startswith(EVIL)
            else:
                assert told.err.count("\n  hint: ") == 1
        assert_tame(draw(*arguments))


@pytest.mark.parametrize("arguments", WRONG, ids=range(len(WRONG)))
def test_no_word_of_the_command_line_comes_back_raw(tell, draw, arguments):
    for mode in (Mode.TSV, Mode.JSON):
        told = tell(*arguments, "-o", mode)
        assert told.err
        assert_tame(told.out + told.err)
    assert_tame(draw(*arguments))


@pytest.mark.parametrize("option", ["--profile", "-f"])
def test_no_name_of_a_manifest_or_profile_comes_back_raw(tell, monkeypatch, option):
    monkeypatch.delenv("AIKI_URL")
    told = tell("status", option, EVIL)
    assert told.err
    assert_tame(told.err)


def test_json_is_the_exact_value_and_tsv_has_its_columns(tell):
    assert tell("status", RUN_ID, "-o", "json").out.count("\n") == 1
    run = json.loads(tell("status", RUN_ID, "-o", "json").out)
    assert (run["workflow"], run["key"], run["labels"], run["result"]) == (EVIL, EVIL, {EVIL: EVIL}, {EVIL: [EVIL]})
    for row in tell("run", "list", "-o", "tsv").out.splitlines():
        assert len(row.split("\t")) == len(TSV_COLUMNS.split())
    for row in tell("run", "history", RUN_ID, "-o", "tsv").out.splitlines():
        assert len(row.split("\t")) == 11
