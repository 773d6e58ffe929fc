"""`aiki dev`: from nothing to a first result in one terminal, and nothing left behind."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.streams import Command, Stderr
from tests.servers import Program, clean_environment, descendants, is_alive, server_folder
from tests.waiting import patient, wait_until_sync


@pytest.fixture
def folder():
    with server_folder() as path:
        work = path / "with a space"
        work.mkdir()
        yield work


@pytest.fixture
def dev(folder):
    """Start `aiki dev --example hello` in an empty folder."""
    started: list[Program] = []

    def start(**variables: str) -> Program:
        command = [*AIKI, "dev", "--example", "hello"]
        environment = clean_environment(**variables)
        program = Program(command, folder, name=f"dev{len(started)}", env=environment, cwd=folder)
        program.start()
        started.append(program)
        return program

    yield start
    for program in started:
        program.close()


def address(program: Program) -> str:
    found = re.search(r"aikid on (nats://127\.0\.0\.1:\d+)", program.logged())
    assert found
    return found[1]


def declare(folder: Path, *, every: str) -> None:
    schedule = f"hourly: {{workflow: hello, every: {every}, payload: {{name: Ada}}}}"
    (folder / "aiki.yaml").write_text(f"aiki: 1\nproject: shop\nschedules:\n  {schedule}\n")


def test_the_example_has_a_result_schedules_follow_their_manifest_and_ctrl_c_ends_all(dev, folder):
    first = dev()
    first.wait_for_log('→ "Hello, Ada!"', 60)
    assert (folder / "hello.py").is_file()
    everyone = descendants(first.pid)
    (folder / "below").mkdir()
    done = subprocess.run(
        [*AIKI, "enqueue", "hello", "name=Grace", "--wait"],
        env=clean_environment(),
        cwd=folder / "below",  # the one of the project is found without a word about where it is
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert done.stdout == '"Hello, Grace!"\n'
    assert (folder / ".aiki" / "dev.json").stat().st_mode & 0o777 == 0o600
    assert first.terminate(signal.SIGINT) == 0
    assert not (folder / ".aiki" / "dev.json").exists()
    assert len(everyone) >= 4
    assert not any(is_alive(pid) for pid in everyone)

    declare(folder, every="1h")
    # What opens a server elsewhere is not for this one.
    second = dev(AIKI_URL=address(first), AIKI_CREDS="elsewhere.creds", AIKI_TLS_CA="elsewhere.pem")
    second.wait_for_log('→ "Hello, Ada!"', 60)
    assert "stays as it is" in second.logged()
    assert address(second) == address(first), "terminals that had the address still have it"
    assert " is taken" not in second.logged()
    listed = subprocess.run(
        [*AIKI, "run", "list", "-o", "ids"],
        env=clean_environment(AIKI_URL=address(second)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert len(listed.stdout.splitlines()) == 3, "the data survives"
    second.wait_for_log("applied: + created  hourly")
    declare(folder, every="2h")
    second.wait_for_log("applied: ~ updated  hourly  (every)")
    everyone = descendants(second.pid)
    second.kill9()
    wait_until_sync(lambda: not any(is_alive(pid) for pid in everyone), 30, what="the end of all that it started")
    passed = subprocess.run(
        [*AIKI, "config", "show"],
        env=clean_environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert passed.stderr == f"the aiki dev of {folder} has ended: {address(second)} is passed over\n"


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_nothing_outlives_a_dev_that_was_killed_with_its_terminal_or_whose_terminal_was_closed(folder, kind):
    command = Command([*AIKI, "dev", "--example", "hello"], Stderr(kind), clean_environment(), folder)
    try:
        wait_until_sync(lambda: command.says('→ "Hello, Ada!"'), 60, what="the example's result")
        everyone = descendants(command.process.pid)
        assert len(everyone) >= 4
        if kind == "pipe":
            command.process.kill()
        command.stderr.leave()
        wait_until_sync(lambda: not any(is_alive(pid) for pid in everyone), 12, what="the end of all it has started")
        assert command.ends() == (-signal.SIGKILL if kind == "pipe" else 0)
    finally:
        command.close()


def test_an_unknown_example_is_a_usage_error(folder):
    done = subprocess.run(
        [*AIKI, "dev", "--example", "nope"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
        env=clean_environment(),
    )
    assert (done.returncode, "expected hello" in done.stderr) == (2, True)
    assert list(folder.iterdir()) == []
