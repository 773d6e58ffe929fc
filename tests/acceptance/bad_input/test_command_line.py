"""Servers that are not there, files that are not right, runs that do not exist, readers that go away."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from tests.acceptance.bad_input.conftest import AIKI
from tests.servers import Nats, Program, aikid_command, clean_environment, warm
from tests.waiting import patient, wait_until_sync

NOWHERE = "nats://127.0.0.1:1"
UNKNOWN = "01900000-0000-7000-8000-000000000000"


def test_every_command_without_a_server_ends_with_69_in_time_and_with_a_hint(tmp_path):
    (tmp_path / "flows.py").write_text(
        "from aiki import WorkflowRun, workflow\n\n\n@workflow\nasync def f(run: WorkflowRun) -> None: ...\n"
    )
    (tmp_path / "rows.jsonl").write_text("{}\n")
    commands = [
        ["enqueue", "x"],
        ["enqueue", "x", "--from", "rows.jsonl"],
        ["status"],
        ["status", "--watch"],
        ["wait", UNKNOWN],
        ["run", "list"],
        ["run", "show", UNKNOWN],
        ["run", "history", UNKNOWN],
        ["run", "resume", UNKNOWN],
        ["worker", "start", "-m", "flows", "--start-timeout", "1s"],
    ]
    programs = [
        Program([*AIKI, *command], tmp_path, name=f"p{n}", env=clean_environment(AIKI_URL=NOWHERE), cwd=tmp_path)
        for n, command in enumerate(commands)
    ]
    for program in programs:
        program.start()
    for program in programs:
        assert program.wait() == 69
        assert f"error: NATS at {NOWHERE} cannot be reached" in program.logged()
        assert "hint: start one: aiki dev" in program.logged()
        assert program.printed() == ""


def test_connecting_gives_up_within_three_seconds_whoever_is_there(aiki, nats: Nats):
    began = time.monotonic()
    assert aiki("status", "--url", NOWHERE).code == 69
    assert time.monotonic() - began < patient(5)  # with the time that a busy machine takes to start Python
    alone = aiki("status", "--url", nats.url, "--namespace", "nobody")
    assert alone.code == 69
    assert "no aikid serves namespace 'nobody'" in alone.err


@pytest.mark.parametrize(
    ("code", "says", "arguments"),
    [
        (5, f"run {UNKNOWN} does not exist", ["wait", UNKNOWN]),
        (5, f"run {UNKNOWN} does not exist", ["run", "show", UNKNOWN]),
        (5, f"run {UNKNOWN} does not exist", ["run", "resume", UNKNOWN]),
        (5, "no run matches 'ffffffff'", ["status", "ffffffff"]),
        (2, "at least 8 characters", ["status", "ffff"]),
        (5, "no run matches 'echo@none'", ["status", "echo@none"]),
        (2, "lone surrogate", ["status", b"echo@\xff"]),
        (2, "'odd' is no state", ["run", "list", "--state", "odd"]),
        (2, "there is no command aiki frobnicate", ["frobnicate"]),
        (78, "is not a NATS URL", ["status", "--url", "http://127.0.0.1"]),
        (78, "'bad-name!' is neither", ["worker", "start", "-m", "bad-name!"]),
        (2, "'__main__' is a program", ["worker", "start", "-m", "__main__"]),
        (78, "no module named 'nosuch'", ["worker", "start", "-m", "nosuch"]),
    ],
)
def test_a_wrong_command_says_what_is_wrong(aiki, code, says, arguments):
    done = aiki(*arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_with_json_asked_for_an_error_is_one_object_on_stderr(aiki):
    for arguments in (["status", UNKNOWN, "-o", "json"], ["frobnicate", "-o", "json"]):
        done = aiki(*arguments)
        error = json.loads(done.err)["error"]
        assert (error["exit"], error.keys()) == (done.code, {"code", "exit", "message", "hint"})


def test_an_ambiguous_reference_lists_the_runs(aiki, worker):
    first = aiki("enqueue", "echo", "value=1").out.strip()
    second = aiki("enqueue", "echo", "value=1").out.strip()
    common = first[: next(n for n in range(36) if first[n] != second[n])]
    done = aiki("status", common[: max(8, len(common))])
    if len(common) >= 8:  # else a minute ended between the two
        assert done.code == 2
        assert "matches several runs" in done.err
        assert first in done.err


@pytest.mark.parametrize(
    ("name", "content", "options", "code", "says"),
    [
        ("none.jsonl", None, [], 66, "cannot read none.jsonl"),
        ("a.jsonl", b'{"value": 1}\nnot json\n[1]\n', [], 65, "line 2: the row is not JSON"),
        ("b.jsonl", b'{"value": 1, "value": 2}\n', [], 65, "line 1: the row is not JSON: an object has the member"),
        ("c.jsonl", b'{"value": "\xff"}\n', [], 65, "line 1: the byte 0xff is not UTF-8"),
        ("d.csv", b"value\n1\n", ["--key-field", "id"], 65, "line 2: the key field 'id' is missing"),
        ("e.csv", b"value\n1,2\n", [], 65, "line 2: 2 cells, and expected 1"),
        ("f.csv", b"value,value\n1,2\n", [], 65, "line 1: the header has"),
        ("g.jsonl", b"", [], 0, ""),
        ("h.jsonl", b'\xef\xbb\xbf{"value": "bom"}\r\n\r\n{"value": "crlf"}\r\n', ["--key-field", "value"], 0, ""),
        ("i.csv", b"\xef\xbb\xbfvalue\r\nbom-csv\r\n", ["--key-field", "value"], 0, ""),
    ],
)
def test_rows_are_checked_before_any_is_sent(aiki, worker, tmp_path, name, content, options, code, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = aiki("enqueue", "echo", "--from", name, *options)
    assert done.code == code
    assert says in done.err
    assert bool(done.out) == (code == 0 and content != b"")


def test_ten_thousand_rows_can_be_sent_twice(aiki, worker, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"value": "row-{n}"}}\n' for n in range(10_000)))
    arguments = ["enqueue", "echo", "--from", "rows.jsonl", "--key-field", "value", "-o", "json", "--delay", "1h"]
    assert aiki(*arguments).json == {"rows": 10_000, "created": 10_000, "existing": 0, "refused": []}
    assert aiki(*arguments).json == {"rows": 10_000, "created": 0, "existing": 10_000, "refused": []}


def test_of_two_rows_with_one_key_the_second_is_refused_or_the_same_run(aiki, worker, tmp_path):
    rows = [{"order": {"id": "k", "cents": cents}} for cents in (1, 1, 2)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = aiki("enqueue", "order", "--from", "rows.jsonl", "--key-field", "order.id", "-o", "json")
    assert done.code == 6
    assert (done.json["created"], done.json["existing"]) == (1, 1)
    assert done.json["refused"][0]["line"] == 3


def test_a_closed_pipe_is_silent(bad_input_environment, aiki, worker):
    aiki("enqueue", "echo", "value=1")
    for command in (["run", "list", "--limit", "1000"], ["status", "--watch"], ["--help"]):
        process = subprocess.Popen(
            [*AIKI, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=bad_input_environment
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(patient(20)), process.stderr.read()) == (0, b"")
        process.stderr.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_watching_and_not_the_run(aiki, bad_input_environment, worker, tmp_path, number, code):
    run_id = aiki("enqueue", "echo", "value=1", "--delay", "1h").out.strip()
    watch = Program(
        [*AIKI, "status", run_id, "--watch"], tmp_path, name="watch", env=bad_input_environment, cwd=tmp_path
    )
    watch.start()
    try:
        wait_until_sync(lambda: run_id in watch.printed(), 20, what="the run's line")
        assert watch.terminate(number) == code
    finally:
        watch.close()
    assert "the run goes on" in watch.logged()
    assert aiki("status", run_id, "-o", "json").json["state"] == "scheduled"


@pytest.mark.parametrize(
    ("manifest", "place"),
    [
        ("aiki: 1\nfoo: 1\n", "2:1: unknown key `foo`"),
        ("aiki: 2\n", "1:7: the format `2`"),
        ("aiki: 1\nmodules: {}\nmodules: {}\n", "3:1: the key `modules` stands on line 2 already"),
        ("aiki: 1\nworker: {drain: 5}\n", "2:17: `5`, and expected a duration"),
        ("aiki: 1\nworker: &a {}\n", "2:9: &a is an alias or anchor"),
        ('aiki: 1\nproject: "${X}"\n', "2:10: "),
    ],
)
def test_a_wrong_manifest_is_78_with_its_place(aiki, tmp_path, manifest, place):
    (tmp_path / "aiki.yaml").write_text(manifest)
    done = aiki("worker", "start")
    assert done.code == 78
    assert f"aiki.yaml:{place}" in done.err


def test_a_module_that_cannot_be_imported_shows_the_users_traceback_alone(aiki, tmp_path):
    (tmp_path / "broken.py").write_text("def g():\n    raise ValueError('mine')\n\n\ng()\n")
    (tmp_path / "misnamed.py").write_text(
        "from aiki import workflow\n\n\n@workflow(name='bad name')\nasync def f(run) -> None: ...\n"
    )
    broken = aiki("worker", "start", "-m", "broken")
    assert broken.code == 78
    assert broken.err.count('File "') == 2
    assert 'broken.py", line 2, in g' in broken.err
    misnamed = aiki("worker", "start", "-m", "misnamed")
    assert misnamed.code == 78
    assert misnamed.err.count('File "') == 1
    assert "'bad name' cannot name workflow f" in misnamed.err


def test_two_workflows_of_one_name_and_version_are_refused_with_both_places(aiki, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            "from aiki import WorkflowRun, workflow\n\n\n@workflow(name='same')\n"
            "async def f(run: WorkflowRun) -> None: ...\n"
        )
    done = aiki("worker", "start", "-m", "one", "-m", "two")
    assert done.code == 78
    assert "one.py:4" in done.err
    assert "two.py:4" in done.err


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "says"),
    [
        (["--pool-size", "many"], {}, 78, "--pool-size: expected a whole number"),
        ([], {}, 78, "AIKI_DATABASE_URL is not set"),
        (["--frob"], {}, 2, "unrecognized arguments"),
        (["--config", "nowhere.toml"], {}, 78, "cannot read the configuration file"),
        ([], {"AIKI_LOG_LEVEL": "loud"}, 78, "AIKI_LOG_LEVEL: expected one of"),
        ([], {"AIKI_POOLSIZE": "3"}, 78, "did you mean AIKI_POOL_SIZE?"),
    ],
)
def test_a_wrong_setting_of_aikid_is_refused_by_name(tmp_path, arguments, variables, code, says):
    done = warm.run(aikid_command(*arguments), cwd=tmp_path, env=clean_environment(**variables), timeout=patient(30))
    assert done.returncode == code
    assert says in done.stderr
