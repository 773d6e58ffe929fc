"""Commands where nobody sits: cron, service managers, containers, CI jobs, and Pythons that were told something."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.servers import Program, descendants
from tests.waiting import patient, wait_until_sync

HELLO = ["-m", "aiki_cli", "enqueue", "hello", "name=é", "--wait", "--timeout", "30s"]
SURROUNDINGS: dict[str, str] = {
    # how it is started, with the interpreter as $0; the environment is almost empty
    "a service that has next to nothing": (
        "export TMPDIR=/nonexistent TZ=Mars/Olympus COLUMNS=0 http_proxy=http://127.0.0.1:1;"
        'unset HOME TERM; trap "" HUP; umask 0777; ulimit -n 32; exec "$0" "$@"'
    ),
    "a folder that was deleted": 'mkdir gone && cd gone && rmdir ../gone && exec "$0" -I "$@"',
    "a folder that may only be entered": 'mkdir closed && chmod 111 closed && cd closed && exec "$0" -OO "$@"',
    "a Python that has no patience": 'exec "$0" -W error -X dev "$@"',
}


def test_a_command_works_in_all_surroundings_that_people_have(
    environment: Mapping[str, str], worker: object, tmp_path: Path
) -> None:
    own = {name: environment[name] for name in ("AIKI_URL", "AIKI_NAMESPACE")}
    started = {}
    for name, script in SURROUNDINGS.items():
        folder = tmp_path / name
        folder.mkdir()
        started[name] = subprocess.Popen(
            ["/bin/sh", "-c", script, sys.executable, *HELLO],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": os.devnull, **own},
        )
    for name, process in started.items():
        out, said = process.communicate(timeout=patient(60))
        assert (process.returncode, out.decode()) == (0, '"HELLO É"\n'), (name, said)
        assert not re.search(b"Traceback|Exception ignored|Warning", said), (name, said)


def test_what_stands_around_the_value_of_a_variable_is_no_part_of_it(aiki, environment, worker):
    around = {name: f"\ufeff{environment[name]} \r\n" for name in ("AIKI_URL", "AIKI_NAMESPACE")}
    done = aiki("enqueue", "hello", "--wait", env={**around, "AIKI_OUTPUT": "json\n", "AIKI_MANIFEST": "\n"})
    assert (done.code, done.json["result"]) == (0, "HELLO ADA")
    named = aiki("status", env={"AIKI_NAMESPACE": "two\nlines"})
    assert (named.code, "'two\\nlines'" in named.err) == (78, True)


def _can_be_first() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _can_be_first(), reason="no process may be PID 1 of a namespace here")
def test_a_worker_drains_as_the_first_process_of_a_container(
    environment: Mapping[str, str], flows: Path, namespace: str
) -> None:
    env = {**environment, "AIKI_NAMESPACE": namespace}
    command = ["unshare", "--pid", "--fork", "--mount-proc", *AIKI, "worker", "start", "-m", "flows"]
    program = Program(command, flows, name="first", env=env, cwd=flows)
    program.start()
    try:
        program.wait_for_log("serves")
        assert program.process is not None
        (first,) = descendants(program.process.pid)
        os.kill(first, signal.SIGTERM)
        wait_until_sync(lambda: not program.running, what="its end")
        assert program.wait() == 0
    finally:
        program.close()


def test_a_task_of_a_process_runs_beside_modules_that_are_named_like_pythons_own(
    aiki, environment: Mapping[str, str], flows: Path, namespace: str
) -> None:
    for name in ("token", "email", "queue", "types", "uvloop"):
        (flows / f"{name}.py").write_text("MINE = True\n")
    (flows / "apart.py").write_text(APART)
    own = {"AIKI_NAMESPACE": namespace}
    command = [sys.executable, "-P", *AIKI[1:], "worker", "start", "-m", "apart"]  # as the script `aiki` starts it
    program = Program(command, flows, name="worker", env={**environment, **own}, cwd=flows)
    program.start()
    try:
        program.wait_for_log("serves")
        done = aiki("enqueue", "apart", "--wait", "--timeout", "30s", env={**own, "PYTHONSAFEPATH": "1"})
        assert done.out == '"apart"\n'
    finally:
        program.close()


APART = """
from aiki import WorkflowRun, task, workflow


@task(executor="process")
def name() -> str:
    return "apart"


@workflow(name="apart", version="1")
async def apart(run: WorkflowRun) -> str:
    return await name.run(run)
"""
