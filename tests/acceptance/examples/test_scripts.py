"""The scripts of `examples/scripts`, as a CI job runs them: in bash, through pipes, wherever a job may stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import AIKI, FLOWS
from tests.acceptance.examples.commands import ROOT
from tests.servers import Program
from tests.waiting import patient

SCRIPTS = ROOT / "examples" / "scripts"
NARROW = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "60"}
OLD = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
Runs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def worker(folder: Path, aiki_env: Mapping[str, str]) -> Iterator[Program]:
    (folder / "flows.py").write_text(FLOWS)
    worker = Program([*AIKI, "worker", "start", "-m", "flows"], folder, name="worker", env=aiki_env, cwd=folder)
    try:
        worker.start()
        worker.wait_for_log("serves ")
        yield worker
    finally:
        worker.close()


@pytest.fixture
def runs(worker: Program, aiki_env: Mapping[str, str], folder: Path) -> Runs:
    """Run a script to its end; `before` is what the shell has done that starts it."""

    def run(script: str, *arguments: str, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = f'set -euo pipefail\n{before}\nexec bash "$0" "$@"'
        return subprocess.run(
            ["bash", "-c", command, str(SCRIPTS / script), *arguments],
            env={**aiki_env, "PATH": path, **variables},
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            timeout=patient(60),
            check=False,
        )

    return run


def test_a_job_has_the_result_of_its_run_wherever_it_stands(runs: Runs) -> None:
    for name, before, variables in (
        ("Ada", "", NARROW),
        ("Zoë", "exec 0<&-; unset HOME; umask 777", OLD),
        ("Ælf", "cd /proc; export HOME=/proc", {**NARROW, "LC_ALL": "POSIX", "PYTHONIOENCODING": "utf-8"}),
    ):
        done = runs("one_run.sh", name, before=before, **variables)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"HELLO {name.upper()}\n", ""), name
    again = runs("one_run.sh", "Ada")
    assert again.stdout == "HELLO ADA\n"


def test_a_job_tells_what_failed_from_what_may_be_tried_again(runs: Runs, folder: Path) -> None:
    away = runs("one_run.sh", "Ada", AIKI_URL="nats://127.0.0.1:1")
    assert (away.returncode, away.stdout) == (69, "")
    assert away.stderr.startswith("error: ")
    wrong = runs("one_run.sh", "Ada", AIKI_NAMESPACE="no spaces")
    assert wrong.returncode == 78
    script = (SCRIPTS / "one_run.sh").read_text().replace("hello", "failing").replace('"name=', '"reason=')
    (folder / "failing.sh").write_text(script)
    failed = runs(str(folder / "failing.sh"), "x")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "the work failed: aiki run show " in failed.stderr


def test_a_job_of_many_rows_tells_of_each_and_ends_with_the_highest_code(runs: Runs, folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"name": "a"}\n{"name": "b"}\n{"name": "c", "times": "many"}\n{"name": "d"}\n')
    done = runs("many_runs.sh", "rows.jsonl", "7", **NARROW)
    assert done.returncode == 65
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["3", "completed", "1", "refused"],
        ["3", "completed"],
        ["completed"],
    ]
    assert len((folder / "first.tsv").read_text().splitlines()) == 1
    told = [json.loads(line) for line in (folder / "outcomes.jsonl").read_text().splitlines()]
    assert (told[0]["line"], told[0]["outcome"]) == (3, "refused")
    assert "$.times: must be integer, not 'many'" in told[0]["error"]["message"]


def test_the_readmes_job_does_what_it_says(runs: Runs, folder: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("\n## For scripts\n")[2]
    (folder / "readme.sh").write_text(section.partition("```bash\n")[2].partition("```")[0])
    done = runs(str(folder / "readme.sh"))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert json.loads((folder / "outcome.json").read_text())["result"] == "HELLO ADA"
