"""`@last`: the run that this terminal enqueued last, and no other terminal's."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

TERMINAL = "from aiki_cli.words.last import terminal; print(terminal())"


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    """Variables of a state folder of the test's own, in a terminal of that name."""
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "AIKI_TERMINAL": "one"}


def test_it_stands_for_the_run_of_this_terminal_wherever_a_run_is_named(aiki, worker, flows, state):
    nothing = aiki("status", "@last", env=state)
    assert nothing.code == 5
    assert "error: @last stands for no run: this terminal has enqueued no run at nats://" in nothing.err
    first = aiki("enqueue", "sleeper", env=state).lines[0]
    other = aiki("enqueue", "sleeper", env={**state, "AIKI_TERMINAL": "two"}).lines[0]
    for command in (["status", "-o", "ids"], ["run", "pause", "-o", "ids"], ["run", "show", "-o", "ids"]):
        assert aiki(*command, "@last", env=state).lines[0] == first, command
    assert aiki("status", "@last", other, "-o", "ids", env=state).lines == [first, other]
    (flows / "rows.csv").write_text("times\n1\n1\n")
    rows = aiki("enqueue", "hello", "--from", "rows.csv", "-o", "ids", env=state)
    assert aiki("wait", "@last", "-o", "ids", env=state).lines == rows.lines[-1:]
    assert aiki("run", "cancel", first, "--wait", "5s", env=state).code == 0
    again = aiki("run", "retry", first, "-o", "ids", env=state)
    assert aiki("status", "@last", "-o", "ids", env=state).lines == again.lines
    assert aiki("status", "@last", env={**state, "AIKI_NAMESPACE": "another"}).code == 5
    kept = list((flows / "state" / "aiki" / "last").iterdir())
    assert [file.stat().st_mode & 0o777 for file in kept] == [0o600, 0o600]
    assert kept[0].parent.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_kept_fails_nothing_and_what_cannot_be_read_is_told(aiki, worker, flows, state):
    (flows / "state").write_text("a file, where the folder should be")
    done = aiki("enqueue", "hello", "--wait", "-q", env=state)
    assert (done.code, done.err) == (0, "")
    unread = aiki("status", "@last", env=state)
    assert unread.code == 5
    assert f"{flows}/state/aiki/last/" in unread.err
    assert "cannot be read (Not a directory)" in unread.err
    (flows / "state").unlink()
    aiki("enqueue", "hello", env=state)
    (kept,) = (flows / "state" / "aiki" / "last").iterdir()
    kept.write_text("../../../etc/passwd")
    assert "holds no run id" in aiki("status", "@last", env=state).err
    kept.chmod(0o666)
    assert "can be written by everybody" in aiki("status", "@last", env=state).err


def test_a_terminal_is_its_session_and_without_one_it_is_who_started_us():
    with_terminal = [_of_a_terminal() for _ in range(2)]
    assert all(one.startswith("session ") for one in with_terminal)
    assert with_terminal[0] != with_terminal[1]
    here = [_without_terminal() for _ in range(2)]
    assert here[0] == here[1]
    assert here[0].startswith(f"parent {os.getpid()} ")


def _of_a_terminal() -> str:
    """Return what the shells of a terminal are told apart by; two commands of one shell must agree."""
    ours, theirs = pty.openpty()
    try:
        shell = 'for _ in 1 2; do "$0" -c "$1" | cat; done'
        command = ["setsid", "--ctty", "sh", "-c", shell, sys.executable, TERMINAL]
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=True, timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    first, second = done.stdout.splitlines()
    assert first == second
    return first


def _without_terminal() -> str:
    done = subprocess.run(
        [sys.executable, "-c", TERMINAL],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    return done.stdout.strip()
