"""Failpoints: silent unless armed, and then exactly once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aiki.core.failpoints import failpoint, parse
from tests.waiting import wait_until_sync


def test_an_unarmed_point_does_nothing() -> None:
    assert failpoint("record.before_commit") is False


def test_a_point_acts_once_at_its_count() -> None:
    point = parse("a.b=drop@3")["a.b"]
    assert [point.reach() for _ in range(5)] == [False, False, True, False, False]


def test_several_points_are_told_apart() -> None:
    points = parse("a.b=drop, c.d=drop@2")
    assert [points["c.d"].reach(), points["a.b"].reach(), points["c.d"].reach()] == [False, True, True]


def test_with_a_marker_it_acts_once_in_all_processes(tmp_path: Path) -> None:
    first, second = (parse("a.b=drop", str(tmp_path))["a.b"] for _ in range(2))
    assert [first.reach(), second.reach()] == [True, False]
    assert (tmp_path / "a.b").exists()


def test_a_thread_is_blocked_until_the_points_file_is_removed(tmp_path: Path) -> None:
    point = parse("a.b=block", str(tmp_path))["a.b"]
    thread = threading.Thread(target=point.reach)
    thread.start()
    wait_until_sync((tmp_path / "a.b").exists)
    assert thread.is_alive()
    (tmp_path / "a.b").unlink()
    thread.join()


@pytest.mark.parametrize("text", ["a.b", "a.b=explode", "a.b=kill@0", "a=kill", "=kill", "a.b=kill@x", "a.b=block"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="AIKI_FAILPOINTS"):
        parse(text)


def test_a_killed_process_says_that_it_was_armed() -> None:
    code = "from aiki.core.failpoints import failpoint; failpoint('a.b'); failpoint('c.d'); print('alive')"
    ended = subprocess.run(
        [sys.executable, "-c", code], env={"AIKI_FAILPOINTS": "c.d=kill"}, capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""
    assert b"failpoints are armed" in ended.stderr
