"""`make demo` with fewer orders: its audit holds, and nothing is left running, also after Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.acceptance.examples.commands import ROOT
from tests.servers import Program, descendants, is_alive
from tests.waiting import wait_until_sync


@pytest.fixture
def demo(folder: Path) -> Iterator[Program]:
    """The demo, not started yet; it writes into a folder of its own."""
    command = [sys.executable, "-m", "examples.orders.demo", "--orders", "80", "--lease", "1.5"]
    env = servers.clean_environment(PYTHONPATH=str(ROOT))
    program = Program(command, folder, name="demo", env=env, cwd=folder)
    try:
        yield program
    finally:
        program.close()


def test_the_demo_proves_what_it_says(demo: Program) -> None:
    demo.start()
    code = demo.wait(120)
    assert code == 0, demo.printed() + demo.logged()
    assert "80 orders are 80 runs, though the CSV was enqueued twice: 80 completed" in demo.printed()
    assert "all of it holds" in demo.printed()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_nothing_running(demo: Program, number: signal.Signals) -> None:
    demo.start()
    wait_until_sync(lambda: "charged" in demo.printed(), 60, what="the first order")
    family = descendants(demo.pid)
    assert len(family) > 3, "aikid, Postgres, NATS and the worker"
    assert demo.terminate(number) == 128 + number
    assert not any(is_alive(pid) for pid in family)
