"""`aiki check` tells without a server what a manifest and its modules hold, what would be refused, and what may be."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import AIKI, Aiki
from tests.servers import clean_environment, warm
from tests.waiting import patient

CODE = """
import time
from aiki import Event, WorkflowRun, task, workflow

print("a word of the user's")
done = Event("done", type=str)

@task
async def load(scope: str) -> int:
    return 1

async def loaded(run: WorkflowRun, scope: str) -> int:
    return await load.run(run, scope)

@workflow(version="1.0.0", events=[done])
async def report(run: WorkflowRun, scope: str, limit: int = 3) -> int:
    return await loaded(run, scope)
"""
READS = """
@workflow
async def late(run: WorkflowRun) -> float:
    return time.time()
"""
MANIFEST = """\
aiki: 1
project: shop
modules: {code: [code_of_mine]}
schedules:
  nightly: {workflow: report, cron: "0 2 * * *", timezone: Europe/Berlin, payload: {scope: all}}
"""


@pytest.fixture
def aiki(tmp_path: Path) -> Aiki:
    """Run `aiki` in the folder of the manifest, where no server is."""
    from tests.acceptance.cli.conftest import Done

    (tmp_path / "code_of_mine.py").write_text(CODE)
    (tmp_path / "aiki.yaml").write_text(MANIFEST)

    def run(*arguments: str) -> Done:
        environment = clean_environment(AIKI_URL="nats://127.0.0.1:1")
        done = warm.run([*AIKI, *arguments], stdin=b"", env=environment, cwd=tmp_path, timeout=patient(60))
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def add(folder: Path, *, code: str = "", manifest: str = "") -> None:
    for name, text in (("code_of_mine.py", code), ("aiki.yaml", manifest)):
        with (folder / name).open("a") as file:
            file.write(text)


def test_a_manifest_and_its_modules_are_listed(aiki: Aiki, tmp_path: Path) -> None:
    done = aiki("check", "-o", "json")
    assert (done.code, done.err) == (0, "a word of the user's\n")
    found = done.json
    assert list(found) == ["is_ok", "manifest", "project", "workflows", "schedules", "warnings", "problems"]
    assert (found["is_ok"], found["project"]) == (True, "shop")
    assert (found["warnings"], found["problems"]) == ([], [])
    (workflow,) = found["workflows"]
    schema = workflow.pop("parameters")
    assert (list(schema["properties"]), schema["required"]) == (["scope", "limit"], ["scope"])
    line = CODE.splitlines().index('@workflow(version="1.0.0", events=[done])') + 1
    expected = {"name": "report", "version": "1.0.0", "tasks": ["load"], "events": ["done"], "line": line}
    assert workflow == {**expected, "file": str(tmp_path / "code_of_mine.py")}
    (schedule,) = found["schedules"]
    slots = [datetime.fromisoformat(slot) for slot in schedule.pop("next")]
    hours = {(after - before).total_seconds() / 3600 for before, after in pairwise(slots)}
    assert (len(slots), hours <= {23, 24, 25}) == (3, True)
    named = {"name": "nightly", "workflow": "report", "version": None}
    place = {"file": str(tmp_path / "aiki.yaml"), "line": 5}
    assert schedule == {**named, "when": "0 2 * * *", "timezone": "Europe/Berlin", **place}


def test_off_a_terminal_each_thing_is_a_line(aiki: Aiki, tmp_path: Path) -> None:
    add(tmp_path, code=READS)
    first, second, schedule, warning = aiki("check").lines
    assert first.split("\t")[:5] == ["workflow", "report", "1.0.0", "scope,limit?", "load"]
    assert second.split("\t")[:4] == ["workflow", "late", "1", ""]
    assert schedule.split("\t")[:5] == ["schedule", "nightly", "report", "", "0 2 * * * Europe/Berlin"]
    place = f"{tmp_path / 'code_of_mine.py'}:{len((CODE + READS).splitlines())}"
    assert warning.split("\t") == [
        *("warning", place),
        "workflow 'late': time.time() in late() is another on replay: use run.now()",
    ]


def test_warnings_fail_a_strict_check_alone(aiki: Aiki, tmp_path: Path) -> None:
    assert aiki("check", "--strict").code == 0
    add(tmp_path, code=READS)
    assert aiki("check").code == 0
    assert aiki("check", "--strict").code == 1


def test_a_payload_that_does_not_fit_its_workflow_is_told_at_its_place(aiki: Aiki, tmp_path: Path) -> None:
    add(tmp_path, manifest="  hourly: {workflow: report, every: 1h, payload: {scope: 3}}\n")
    add(tmp_path, manifest="  weekly: {workflow: report, every: 1w, payload: {scoop: all}}\n")
    done = aiki("check")
    assert done.code == 65
    assert f"error: {tmp_path}/aiki.yaml:6:11: schedule 'hourly': $.scope: must be string, not 3" in done.err
    assert f"{tmp_path}/aiki.yaml:7:11: schedule 'weekly': $" in done.err
    first, second = (line.split("\t")[:2] for line in done.lines[-2:])
    assert (first, second) == (["problem", f"{tmp_path}/aiki.yaml:6"], ["problem", f"{tmp_path}/aiki.yaml:7"])
    as_json = aiki("check", "-o", "json")
    assert (as_json.code, as_json.json["is_ok"]) == (65, False)
    told = [(problem["code"], problem["line"]) for problem in as_json.json["problems"]]
    assert told == [("payload", 6), ("payload", 7)]


def test_options_that_no_run_can_have_are_told_at_their_place(aiki: Aiki, tmp_path: Path) -> None:
    add(tmp_path, manifest=f"  hourly: {{workflow: report, every: 1h, labels: {{team: {'x' * 300}}}}}\n")
    done = aiki("check")
    assert done.code == 78
    assert "aiki.yaml:6:11: schedule 'hourly': label 'team'" in done.err


def test_a_workflow_that_no_module_holds_is_warned_of_with_the_one_that_was_meant(aiki: Aiki, tmp_path: Path) -> None:
    add(
        tmp_path,
        manifest="  hourly: {workflow: repotr, every: 1h}\n  past: {workflow: report, at: 2020-01-01T00:00Z,\n",
    )
    add(tmp_path, manifest="         payload: {scope: a}}\n")
    done = aiki("check", "-o", "json")
    assert done.code == 0
    first, second = done.json["warnings"]
    assert first["message"].endswith("so its payload is not checked (did you mean 'report'?)")
    assert (first["hint"], first["file"], first["line"]) == ("workflow: report", str(tmp_path / "aiki.yaml"), 6)
    assert second["message"] == "schedule 'past' fires no more"


def test_one_of_several_versions_has_to_be_named(aiki: Aiki, tmp_path: Path) -> None:
    other = '@workflow(name="report", version="2.0.0")\nasync def other(run: WorkflowRun) -> int:\n    return 1\n'
    add(tmp_path, code=other)
    done = aiki("check")
    assert done.code == 78
    assert "workflow 'report' has several versions (1.0.0, 2.0.0)" in done.err
    assert 'hint: version: "1.0.0"' in done.err


def test_code_that_cannot_be_imported_shows_the_users_own_traceback(aiki: Aiki, tmp_path: Path) -> None:
    add(tmp_path, code="\nraise RuntimeError('no database here')\n")
    done = aiki("check")
    assert done.code == 78
    assert "cannot import 'code_of_mine'" in done.err
    assert f'File "{tmp_path}/code_of_mine.py", line {len(CODE.splitlines()) + 2}' in done.err
    assert "RuntimeError: no database here" in done.err
    assert "aiki_cli" not in done.err


def test_a_manifest_that_is_wrong_is_told_with_its_place(aiki: Aiki, tmp_path: Path) -> None:
    add(tmp_path, manifest='  bad: {workflow: report, cron: "0 25 * * *"}\n')
    done = aiki("check")
    assert done.code == 78
    assert f"{tmp_path}/aiki.yaml:6:33: cron '0 25 * * *': '25' is no hour" in done.err


def test_modules_may_be_named_and_a_manifest_need_not_be_there(aiki: Aiki, tmp_path: Path) -> None:
    (tmp_path / "aiki.yaml").unlink()
    done = aiki("check", "-m", "code_of_mine", "-o", "ids")
    assert (done.code, done.lines) == (0, ["report"])
    missing = aiki("check")
    assert missing.code == 78
    assert "hint: aiki check -m myflows" in missing.err


def test_a_manifest_without_modules_is_checked_alone(aiki: Aiki, tmp_path: Path) -> None:
    (tmp_path / "aiki.yaml").write_text(MANIFEST.replace("modules: {code: [code_of_mine]}\n", ""))
    done = aiki("check")
    assert (done.code, [line.split("\t")[0] for line in done.lines]) == (0, ["schedule", "warning"])


def test_a_thread_that_a_module_begins_does_not_hold_it_up(aiki: Aiki, tmp_path: Path) -> None:
    add(tmp_path, code="\nimport threading\nthreading.Thread(target=threading.Event().wait).start()\n")
    assert aiki("check", "-o", "ids").lines == ["report", "nightly"]


def test_what_tasks_share_and_settings_of_workflows_are_looked_for(aiki: Aiki, tmp_path: Path) -> None:
    add(tmp_path, manifest="workflows: {reprot: {timeout: 1h}, report: {timeout: 2h}}\n")
    (warned,) = aiki("check", "-o", "json").json["warnings"]
    assert warned["message"] == (
        "no module of the manifest holds workflow 'reprot', for which it has settings (did you mean 'report'?)"
    )
    assert aiki("check", "-m", "code", "-o", "json").json["warnings"] == []
    add(tmp_path, manifest="worker: {lifespan: 'code_of_mine:pools'}\n")
    done = aiki("check")
    assert (done.code, "code_of_mine has no function 'pools'" in done.err) == (78, True)


def test_the_examples_hold_what_a_strict_check_asks(aiki: Aiki) -> None:
    done = aiki("check", "--strict", "-f", str(Path(__file__).parents[3] / "examples" / "aiki.yaml"), "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert [schedule["name"] for schedule in done.json["schedules"]] == ["nightly"]
