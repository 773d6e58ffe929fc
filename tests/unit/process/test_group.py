"""The end of a child's group, and the children that are no longer anybody's to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from aiki.process.group import end_group, is_ended
from tests.servers import is_alive
from tests.waiting import wait_until_sync

LEAVES_ONE = """
import os, subprocess, sys, threading
os.setsid()
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], stdout=subprocess.DEVNULL)
print(left.pid, flush=True)
sys.stdin.read()
"""


def leader() -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVES_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_what_a_leader_has_left_ends_although_the_leader_has_ended_before() -> None:
    process, left = leader()
    assert process.stdin is not None
    assert is_ended(process.pid) is False
    process.stdin.close()
    wait_until_sync(lambda: is_ended(process.pid))
    assert is_alive(left)
    end_group(process.pid)
    wait_until_sync(lambda: not is_alive(left), what="the end of what was left")
    assert process.wait() == 0, "nobody has collected it"
    assert process.stdout is not None
    process.stdout.close()


def test_a_number_that_may_be_anothers_by_now_is_left_alone() -> None:
    process, left = leader()
    process.communicate("")
    assert is_ended(process.pid) is None
    end_group(process.pid)
    assert is_alive(left)
    os.kill(left, signal.SIGKILL)
