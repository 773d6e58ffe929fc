"""A word on stderr costs neither an exception nor a wait, whatever has become of whoever reads it."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest

from aiki.process.stderr import LAST_WORDS_SECONDS, WAITING_BYTES
from tests.waiting import patient, wait_until_sync

PROTECTED = "from aiki.process.stderr import protect_stderr; protect_stderr()\n"
DETACHED = "from aiki.process.stderr import detach_stderr; detach_stderr()\n"
SPEAKS = """
import logging, sys, traceback, warnings
print("a word", file=sys.stderr)
logging.error("a line of a log")
warnings.warn("a warning")
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
sys.stderr.buffer.write(b"bytes")
sys.stderr.flush()
print("went on")
"""


def start(program: str, stderr: int | None, *, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        preexec_fn=before,
    )


def full_pipe() -> tuple[int, int]:
    """Return both ends of a pipe that takes no more."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writes, b"x" * fcntl.fcntl(writes, fcntl.F_GETPIPE_SZ))
    return reads, writes


@pytest.mark.parametrize("safe", [PROTECTED, DETACHED], ids=["protected", "detached"])
@pytest.mark.parametrize("stderr", ["no reader", "no space", "no descriptor", "a reader"])
def test_whatever_has_become_of_stderr_a_process_goes_on_and_ends_with_its_own_code(safe: str, stderr: str) -> None:
    reads, writes = os.pipe()
    disk = os.open("/dev/full", os.O_WRONLY)
    if stderr == "no reader":
        os.close(reads)
    before = (lambda: os.close(2)) if stderr == "no descriptor" else None
    target = disk if stderr == "no space" else None if stderr == "no descriptor" else writes
    process = start(safe + SPEAKS + "sys.exit(7)", target, before=before)
    os.close(writes)
    out, _ = process.communicate(timeout=patient(20))
    assert (process.returncode, out) == (7, "went on\n")
    if stderr == "a reader":
        said = os.read(reads, 100_000).decode()
        words = ["a word", "a line of a log", "UserWarning: a warning", "ZeroDivisionError", "bytes"]
        assert [said.index(word) for word in words] == sorted(said.index(word) for word in words)
    os.close(disk)
    if stderr != "no reader":
        os.close(reads)


def test_a_descriptor_that_was_closed_does_not_become_the_next_sockets() -> None:
    def close_both() -> None:
        os.close(0)
        os.close(2)

    program = PROTECTED + "import socket, sys; print(socket.socket().fileno() > 2, file=open('/dev/fd/1', 'w'))"
    process = start(program, None, before=close_both)
    assert process.communicate(timeout=patient(20))[0] == "True\n"


def test_a_full_pipe_holds_nobody_up_not_even_the_end() -> None:
    reads, writes = full_pipe()
    began = time.monotonic()
    process = start(DETACHED + SPEAKS + "print('x' * 3_000_000, file=sys.stderr)\nsys.exit(7)", writes)
    out, _ = process.communicate(timeout=patient(20))
    assert (process.returncode, out) == (7, "went on\n")
    assert time.monotonic() - began < patient(LAST_WORDS_SECONDS + 3)
    os.close(reads)
    os.close(writes)


def test_what_is_not_read_in_time_is_dropped_and_counted() -> None:
    reads, writes = full_pipe()
    lines = 3 * WAITING_BYTES // 1000
    program = f"""
        import sys
        for number in range({lines}):
            print(f"{{number:999}}", file=sys.stderr)
        print("said", flush=True)
        sys.stdin.readline()
        print("the last one", file=sys.stderr)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", DETACHED + textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writes,
        text=True,
    )
    os.close(writes)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "said\n"
    read = b""
    while not read.endswith(b"nobody read them)\n"):
        read += os.read(reads, 65536)
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(patient(20)) == 0
    read += os.read(reads, 65536)
    process.stdout.close()
    os.close(reads)
    *kept, notice, last = read.decode().lstrip("x").splitlines()
    assert last == "the last one"
    assert [int(line) for line in kept] == list(range(len(kept))), "what is kept has no holes"
    assert notice == f"({lines - len(kept)} lines were dropped: nobody read them)"


def test_a_pipe_that_somebody_else_has_made_non_blocking_loses_nothing() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    process = start(PROTECTED + "import sys; print('x' * 1_000_000, file=sys.stderr)", writes)
    os.close(writes)
    read = 0
    while chunk := os.read(reads, 65536):
        read += len(chunk)
    assert process.communicate(timeout=patient(20))
    os.close(reads)
    assert read == 1_000_001


def test_a_forked_child_of_a_task_still_speaks() -> None:
    program = """
        import os, sys
        if os.fork() == 0:
            print("from the child", file=sys.stderr)
            os._exit(0)
        os.wait()
    """
    process = start(DETACHED + textwrap.dedent(program), subprocess.PIPE)
    assert "from the child\n" in process.communicate(timeout=patient(20))[1]


def test_a_signals_handler_may_speak_in_the_middle_of_a_word() -> None:
    program = """
        import os, signal, sys
        signal.signal(signal.SIGALRM, lambda *_: print("from the handler", file=sys.stderr))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for number in range(20_000):
            sys.stderr.write(f"{number}\\n")
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    process = start(DETACHED + textwrap.dedent(program), subprocess.PIPE)
    _, said = process.communicate(timeout=patient(30))
    assert process.returncode == 0
    assert "from the handler" in said
    assert [int(line) for line in said.splitlines() if line.isdecimal()] == list(range(20_000))


def test_on_a_terminal_it_is_still_one() -> None:
    ours, theirs = pty.openpty()
    process = start(DETACHED + "import sys; print(sys.stderr.isatty(), sys.stderr.fileno())", theirs)
    os.close(theirs)
    assert process.communicate(timeout=patient(20))[0] == "True 2\n"
    os.close(ours)
    wait_until_sync(lambda: process.poll() == 0)
