"""The first signal asks, the second one ends the process, even one that is held up in a write."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from signal import Signals

import pytest

from aiki.process.signals import obeying
from tests.waiting import patient, wait_until, wait_until_sync

PROGRAM = """
    import os, signal, sys, time
    from signal import Signals
    from aiki.process.signals import obeying

    def stop(number):
        os.write(1, number.name.encode() + b"\\n")

    with obeying(stop, Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP):
        os.write(1, b"ready\\n")
        {work}
"""
BLOCKED = """reads, writes = os.pipe()
        while True: os.write(writes, bytes(1_000_000))"""


@pytest.mark.parametrize("work", ["time.sleep(1000)", BLOCKED, "while True: pass"])
@pytest.mark.parametrize("number", [Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP])
def test_the_second_signal_ends_a_process_whatever_holds_it_up(work: str, number: Signals) -> None:
    program = textwrap.dedent(PROGRAM.format(work=work))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == f"{number.name}\n"
    process.send_signal(number)
    wait_until_sync(lambda: process.poll() is not None, 5, what="its end")
    process.stdout.close()
    assert process.returncode == 128 + number


@pytest.mark.parametrize("loop", ["", "uvloop"])
def test_a_signal_that_the_kernel_hands_to_another_thread_is_heard_at_once(loop: str) -> None:
    """The main thread is in a call that goes on after a signal in another thread."""
    run = f"""
        import asyncio, os, signal, threading, time
        from signal import Signals
        from aiki.process.signals import obeying

        other = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
        other.start()

        def strike():
            for number in (Signals.SIGTERM, Signals.SIGHUP):
                time.sleep(0.1)
                signal.pthread_kill(other.ident, number)

        async def main():
            with obeying(lambda number: os.write(1, number.name.encode()), Signals.SIGTERM, Signals.SIGHUP):
                threading.Thread(target=strike).start()
                time.sleep(1000)

        loop = {loop!r}
        with asyncio.Runner(loop_factory=__import__(loop).new_event_loop if loop else None) as runner:
            runner.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(run)], capture_output=True, text=True, timeout=patient(20), check=False
    )
    assert (done.returncode, done.stdout) == (129, "SIGTERM")


def test_a_handler_that_user_code_gives_its_loop_takes_nothing_away() -> None:
    came: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        usr = asyncio.Event()
        with obeying(came.append, Signals.SIGTERM):
            loop.add_signal_handler(signal.SIGUSR1, usr.set)
            os.kill(os.getpid(), signal.SIGTERM)
            await wait_until(lambda: came)
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(usr.wait(), patient(5))
        loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(main())
    assert came == [Signals.SIGTERM]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_signal_to_a_forked_child_of_a_task_ends_that_child_alone() -> None:
    came: list[object] = []
    with obeying(came.append, Signals.SIGTERM):
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writes, b"ready")
            time.sleep(1000)
            os._exit(0)
        os.read(reads, 5)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        os.close(reads)
        os.close(writes)
    assert came == []


def test_an_inner_block_hears_alone_and_gives_the_signals_back() -> None:
    outer: list[Signals] = []
    inner: list[Signals] = []
    with obeying(outer.append, Signals.SIGTERM, Signals.SIGHUP):
        with obeying(inner.append, Signals.SIGTERM):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
        assert inner == [Signals.SIGTERM]
    assert outer == [Signals.SIGHUP]


def test_under_nohup_sighup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    came: list[Signals] = []
    try:
        with obeying(came.append, Signals.SIGHUP, Signals.SIGTERM, again=came.append):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert came == [Signals.SIGTERM, Signals.SIGTERM]


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with obeying(print, Signals.SIGTERM):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
