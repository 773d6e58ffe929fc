"""What stdout does not take costs no exception, and is told of at the end; what an encoding lacks is escaped."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

from tests.waiting import patient

PROTECTED = "from aiki.process import stdout; stdout.protect_stdout()\n"
TELLS = """
import sys
print("a result", flush=True)
sys.stdout.buffer.write(b"bytes")
print("more")
sys.stdout.flush()
print(type(stdout.lost()).__name__, stdout.lost(), file=sys.stderr)
"""


def run(
    program: str, stdout: int, *, before: Callable[[], None] | None = None, encoding: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROTECTED + textwrap.dedent(program)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=patient(20),
        check=False,
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("no reader", "BrokenPipeError [Errno 32] Broken pipe"),
        ("no space", "OSError [Errno 28] No space left on device"),
        ("no descriptor", "OSError [Errno 9] it is closed"),
        ("a reader", "NoneType None"),
    ],
)
def test_whatever_has_become_of_stdout_a_process_goes_on_and_learns_of_it(kind: str, told: str) -> None:
    reads, writes = os.pipe()
    disk = os.open("/dev/full", os.O_WRONLY)
    if kind == "no reader":
        os.close(reads)
    before = (lambda: os.close(1)) if kind == "no descriptor" else None
    done = run(TELLS, disk if kind == "no space" else writes, before=before)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, f"{told}\n")
    if kind == "a reader":
        assert os.read(reads, 1000) == b"a result\nbytesmore\n"
    os.close(disk)
    if kind != "no reader":
        os.close(reads)


def test_what_nobody_wrote_is_not_lost() -> None:
    done = run("import sys; print(stdout.lost(), file=sys.stderr)", subprocess.PIPE, before=lambda: os.close(1))
    assert done.stderr == "None\n"


def test_after_a_loss_nothing_more_is_written() -> None:
    reads, writes = os.pipe()
    program = """
        import fcntl, os, sys
        print("first")
        kept = os.dup(1)
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        print("lost")
        os.dup2(kept, 1)
        print("after")
        sys.exit(0 if stdout.lost() else 1)
    """
    assert run(program, writes).returncode == 0
    os.close(writes)
    assert os.read(reads, 1000) == b"first\n"
    os.close(reads)


def test_the_words_of_users_are_no_result() -> None:
    disk = os.open("/dev/full", os.O_WRONLY)
    done = run("stdout.leave_to_user_code(); print('x'); import sys; sys.exit(1 if stdout.lost() else 0)", disk)
    assert (done.returncode, done.stderr) == (0, "")
    os.close(disk)


def test_a_pipe_that_somebody_else_has_made_non_blocking_loses_nothing() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen([sys.executable, "-c", f"{PROTECTED}print('x' * 1_000_000)"], stdout=writes)
    os.close(writes)
    read = 0
    while chunk := os.read(reads, 65536):
        read += len(chunk)
    assert process.wait(patient(20)) == 0
    os.close(reads)
    assert read == 1_000_001


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:strict", "cp1252", "utf-8"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_json_stays_json_in_any_encoding(encoding: str, stream: str) -> None:
    text = "grüße 😀 €"
    program = f"""
        import json, sys
        from aiki.process import stderr
        stderr.protect_stderr()
        print(json.dumps({text!r}, ensure_ascii=False), file=sys.{stream})
    """
    done = subprocess.run(
        [sys.executable, "-c", PROTECTED + textwrap.dedent(program)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=patient(20),
        check=True,
    )
    said: bytes = getattr(done, stream)
    assert json.loads(said.decode(encoding.partition(":")[0])) == text
