"""I/O in a body that asks no loop is told with its line, wherever Python tells of it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.execution import Limits
from aiki.inside.workflow_run import WorkflowRun
from tests.waiting import patient
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World

PATIENT = Limits(slow_step_seconds=patient(30))
"""That this machine is slow is no news."""


def reason_of(does: Callable[[], object]) -> str | None:
    @workflow(name="does", version="1")
    async def flow(run: WorkflowRun) -> None:
        await run.sleep("1s")
        does()

    async def main() -> str | None:
        end = await World(flow, limits=PATIENT).finish()
        assert end.move is Move.COMPLETE, bytes(end.error)
        return end.why

    return simulate(main())


def opens() -> None:
    with open(__file__):  # noqa: PTH123 - one way of many
        pass


def reads_a_path() -> None:
    Path(__file__).read_text()


def connects() -> None:
    with socket.socket() as made:
        made.connect_ex(("127.0.0.1", 1))


def looks_up() -> None:
    socket.getaddrinfo("127.0.0.1", 1)


def makes_a_pair() -> None:
    for one in socket.socketpair():
        one.close()


def starts_a_process() -> None:
    subprocess.run(["true"], check=True)


def asks_a_shell() -> None:
    os.system("true")


def opens_a_database() -> None:
    sqlite3.connect(":memory:").close()


@pytest.mark.parametrize(
    ("does", "what"),
    [
        (opens, "open()"),
        (reads_a_path, "open()"),
        (connects, "a socket"),
        (looks_up, "a socket"),
        (makes_a_pair, "a socket"),
        (starts_a_process, "a process"),
        (asks_a_shell, "a process"),
        (opens_a_database, "a database"),
    ],
)
def test_io_that_asks_no_loop_is_logged_with_the_users_line_and_is_the_reason_of_the_end(
    does: Callable[[], None], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    reason = reason_of(does)
    assert f"{what} was used in the workflow body at {__file__}:" in str(reason)
    assert f" in {does.__name__}; " in str(reason)
    assert [f" in {does.__name__}; " in record.message for record in caplog.records]


def test_it_is_logged_once_for_each_line_and_not_again_on_replay(caplog: pytest.LogCaptureFixture) -> None:
    @workflow(name="reads", version="1")
    async def reads(run: WorkflowRun) -> None:
        await run.sleep("1s")
        for _ in range(3):
            opens()
        await run.sleep("1s")
        await run.sleep("1s")

    async def main() -> None:
        world = World(reads, limits=PATIENT)
        world.claim()
        await world.settle(until=lambda: len(world.journal) == 2)
        world.crash()
        assert "open()" in str((await world.finish()).why)

    simulate(main())
    assert len(caplog.records) == 1


def logs_into_a_file(tmp_path: Path) -> None:
    logger = logging.getLogger("test_audit")
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    logger.addHandler(handler)
    logger.warning("a line")
    logger.removeHandler(handler)
    handler.close()


def formats_a_traceback(tmp_path: Path) -> None:
    try:
        opens.__wrapped__  # type: ignore[attr-defined]  # noqa: B018 - it raises
    except AttributeError:
        traceback.format_exc()


def reads_a_zone(tmp_path: Path) -> None:
    ZoneInfo.no_cache("Europe/Berlin")


@pytest.mark.parametrize("does", [logs_into_a_file, formats_a_traceback, reads_a_zone])
def test_what_python_reads_for_itself_is_no_fault(does: Callable[[Path], None], tmp_path: Path) -> None:
    assert reason_of(lambda: does(tmp_path)) is None


def test_an_import_in_a_body_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aiki_late_import.py").write_text("with open(__file__) as file: DATA = file.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert reason_of(lambda: importlib.import_module("aiki_late_import")) is None


def test_tasks_are_free_to_use_what_they_like() -> None:
    @task
    async def reads() -> int:
        opens()
        starts_a_process()
        return 1

    @task
    def reads_in_a_thread() -> int:
        opens()
        return 1

    @workflow(name="asks", version="1")
    async def asks(run: WorkflowRun) -> None:
        await asyncio.gather(reads.run(run), reads_in_a_thread.run(run))

    async def main() -> Any:
        return (await World(asks).finish()).why

    assert asyncio.run(main()) is None


_WATCHED_TWICE = """
import sys
added = []
sys.addaudithook = added.append
from aiki.execution.audit import watch
watch()
watch()
print(len(added))
"""


def test_the_hook_is_added_once() -> None:
    assert subprocess.run([sys.executable, "-c", _WATCHED_TWICE], check=True, capture_output=True).stdout == b"1\n"
