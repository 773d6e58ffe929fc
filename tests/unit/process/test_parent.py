"""A process ends with the one that started it, however that one came to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.servers import is_alive
from tests.waiting import patient, wait_until_sync

HOLDS_THE_LOCK = "sum(range(10**12))"
"""A single call of C code: no thread of Python's runs until it is over, in about an hour."""


def run(program: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("work", ["import time; time.sleep(1000)", HOLDS_THE_LOCK])
def test_a_child_of_multiprocessing_ends_with_a_killed_parent_whatever_it_is_at(work: str, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(
        textwrap.dedent(f"""
        import multiprocessing, os
        from aiki.process.parent import end_with

        def serve():
            end_with(multiprocessing.parent_process().sentinel)
            print(os.getpid(), flush=True)
            {work}

        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=serve)
            child.start()
            child.join()
        """)
    )
    parent = subprocess.Popen([sys.executable, str(tmp_path / "child.py")], stdout=subprocess.PIPE, text=True)
    child = int(first_line(parent))
    parent.kill()
    parent.communicate()
    wait_until_sync(lambda: not is_alive(child), 5, what="the end of the child")


def test_what_a_leader_has_started_ends_with_a_killed_parent_too(tmp_path: Path) -> None:
    """It ignores the signal by which the kernel tells of input elsewhere, as each program in Go does."""
    (tmp_path / "child.py").write_text(
        textwrap.dedent("""
        import multiprocessing, os, signal, subprocess, sys, time
        from aiki.process.group import lead
        from aiki.process.parent import end_with

        def serve():
            lead()
            end_with(multiprocessing.parent_process().sentinel)
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            print(os.getpid(), program.pid, flush=True)
            sum(range(10**12))

        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=serve)
            child.start()
            child.join()
        """)
    )
    parent = subprocess.Popen([sys.executable, str(tmp_path / "child.py")], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in first_line(parent).split()]
    parent.kill()
    parent.communicate()
    wait_until_sync(lambda: not any(is_alive(pid) for pid in pids), 5, what="the end of both")


WATCHES = """
    import os, sys, threading
    from aiki.process.parent import watch_parent
    watch_parent(lambda: print("orphaned", flush=True))
    print("watches", "AIKI_PARENT_FD" in os.environ, flush=True)
    threading.Event().wait({seconds})
"""


def test_the_end_of_the_parent_is_told_once_and_the_variable_is_not_passed_on() -> None:
    reads, writes = os.pipe()
    env = {**os.environ, "AIKI_PARENT_FD": str(reads)}
    child = run(WATCHES.format(seconds="1000"), env=env, pass_fds=[reads])
    assert first_line(child) == "watches False"
    os.close(reads)
    os.close(writes)
    assert first_line(child) == "orphaned"
    child.kill()
    child.communicate()


@pytest.mark.parametrize("value", ["", "nonsense", "99", "-1"])
def test_a_process_that_nobody_has_tied_hears_nothing(value: str) -> None:
    child = run(WATCHES.format(seconds="0.2"), env={**os.environ, "AIKI_PARENT_FD": value})
    assert child.communicate(timeout=patient(20))[0] == "watches False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part")
def test_the_kernel_tells_a_child_that_holds_the_lock() -> None:
    parent = run(
        f"""
        import os, signal, subprocess, sys
        from aiki.process.parent import die_with
        me = os.getpid()
        subprocess.Popen(
            [sys.executable, "-c", "import os; print(os.getpid(), flush=True); {HOLDS_THE_LOCK}"],
            preexec_fn=lambda: die_with(me, signal.SIGTERM),
        ).wait()
        """
    )
    child = int(first_line(parent))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_until_sync(lambda: not is_alive(child), 5, what="the end of the child")
