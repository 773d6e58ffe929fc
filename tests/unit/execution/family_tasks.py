"""Tasks whose processes have processes of their own, or come to a bad end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from signal import Signals

from aiki.core.retry import Retry
from aiki.definitions.task import task

ONCE = Retry.none()
SLEEPER = [sys.executable, "-c", "import time; time.sleep(1000)"]


def double(number: int) -> int:
    return 2 * number


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


@task(executor="process", retry=ONCE)
def in_pool(method: str) -> list[int]:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(double, range(3))


@task(executor="process", retry=ONCE)
def in_executor(method: str) -> list[int]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        return list(pool.map(double, range(3)))


@task(executor="process", retry=ONCE)
def in_program(word: str) -> str:
    return subprocess.run(["echo", word], capture_output=True, text=True, check=True).stdout


@task(executor="process", retry=ONCE)
def gated(gate: str) -> int:
    wait_for(gate)
    return os.getpid()


@task(executor="process", retry=ONCE)
def leaves_programs(path: str) -> None:
    """Leave one in our group and one in a session of its own, and write who they are."""
    programs = [subprocess.Popen(SLEEPER), subprocess.Popen(SLEEPER, start_new_session=True)]
    numbers = [os.getpid(), *(program.pid for program in programs)]
    Path(path).write_text(" ".join(map(str, numbers)))


@task(executor="process", retry=ONCE, timeout="1s")
def leaves_programs_and_hangs(path: str) -> None:
    leaves_programs.fn(path)
    time.sleep(1000)


@task(executor="process", retry=ONCE)
def ends(how: str) -> None:
    match how:
        case "exit":
            os._exit(7)
        case "abort":
            os.abort()
        case _:
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()


@task(executor="process", retry=ONCE)
def ends_beside_a_holder_of_its_pipes(path: str) -> None:
    for descriptor in range(3, 64):
        try:
            os.set_inheritable(descriptor, True)
        except OSError:
            continue
    Path(path).write_text(str(subprocess.Popen(SLEEPER, close_fds=False).pid))
    os._exit(7)


@task(executor="process", retry=ONCE)
def closes_everything() -> None:
    os.closerange(3, 64)


@task(executor="process", retry=ONCE)
def forks_and_returns_twice() -> int:
    return os.fork() and 1


@task(executor="process", retry=ONCE)
def hears_stops() -> int:
    """Return from a wait that three signals came upon."""
    me = threading.main_thread().ident
    assert me is not None

    def strike() -> None:
        for one in (Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP):
            signal.pthread_kill(me, one)

    threading.Thread(target=strike).start()
    time.sleep(0.1)
    return os.getpid()


@task(executor="process", retry=ONCE)
def minds_stops() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@task(executor="process", retry=ONCE)
def stops_what_it_starts() -> list[int]:
    """Return what became of a program and of a fork that were told to stop."""
    program = subprocess.Popen(SLEEPER)
    fork = os.fork()
    if not fork:
        time.sleep(1000)
    program.terminate()
    os.kill(fork, signal.SIGTERM)
    return [program.wait(), os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])]
