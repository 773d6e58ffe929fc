"""Long-lived commands whose stderr is gone or full, whose terminal or parent is gone: they end, in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from signal import Signals

import pytest

from tests.acceptance.cli.conftest import AIKI, Aiki
from tests.acceptance.cli.streams import Command, Stderr
from tests.servers import Nats, clean_environment, descendants, is_alive
from tests.waiting import wait_until_sync

HARMS = ["gone", "full", "closed", "disk", "no stdin", "no stdout", "no streams"]
Serve = Callable[..., Command]


@pytest.fixture
def started() -> Iterator[list[Command]]:
    """What is put here is ended after the test."""
    commands: list[Command] = []
    yield commands
    for command in commands:
        command.close()


@pytest.fixture
def own(namespace: str) -> dict[str, str]:
    """Variables of a namespace of the test's own."""
    return {"AIKI_NAMESPACE": namespace}


@pytest.fixture
def serve(environment: Mapping[str, str], own: dict[str, str], flows: Path, started: list[Command]) -> Serve:
    """Start a worker (or several) with a stderr of some kind; it serves when this returns."""

    def start(kind: str, *arguments: str) -> Command:
        command = [*AIKI, "worker", "start", "-m", "flows", "--drain", "5s", *arguments]
        made = Command(command, Stderr(kind), {**environment, **own}, flows)
        started.append(made)
        made.wait_ready()
        if kind == "gone":
            made.stderr.leave()
        return made

    return start


def hold(aiki: Aiki, own: dict[str, str], flows: Path) -> Path:
    """Have the worker carry out a task that waits until the returned file is there."""
    gate = flows / "gate"
    run_id = aiki("enqueue", "held", f"gate={gate}", env=own).lines[0]
    wait_until_sync(lambda: "running" in aiki("status", run_id, env=own).out, what="the run to start")
    return gate


def recorded(aiki: Aiki, own: dict[str, str]) -> int:
    """Return how many tasks' results the only run has."""
    (run,) = aiki("run", "list", "-o", "json", env=own).json["runs"]
    tasks: int = run["tasks"]
    return tasks


@pytest.mark.parametrize("kind", HARMS)
def test_a_worker_drains_at_the_first_signal_whatever_has_become_of_its_stderr(serve, kind):
    command = serve(kind)
    command.process.send_signal(Signals.SIGTERM)
    assert command.ends() == 0


@pytest.mark.parametrize("kind", ["gone", "full"])
def test_a_fleet_drains_at_the_first_signal_whatever_has_become_of_its_stderr(serve, kind):
    command = serve(kind, "--processes", "2")
    workers = descendants(command.process.pid)
    command.process.send_signal(Signals.SIGTERM)
    assert command.ends() == 0
    assert len(workers) == 2
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.parametrize("kind", ["gone", "full"])
def test_a_second_signal_gives_up_at_once_whatever_has_become_of_stderr(serve, aiki, own, flows, kind):
    command = serve(kind, "--drain", "10m")
    hold(aiki, own, flows)
    command.process.send_signal(Signals.SIGTERM)
    command.process.send_signal(Signals.SIGHUP)
    assert command.ends(3) in {129, 143}, "the kernel may hand them over in either order"


def test_a_worker_drains_on_sighup_as_on_sigterm(serve, aiki, own, flows):
    command = serve("kept")
    gate = hold(aiki, own, flows)
    command.process.send_signal(Signals.SIGHUP)
    wait_until_sync(lambda: command.says("draining"), what="the drain")
    gate.touch()
    assert command.ends() == 0
    assert recorded(aiki, own) == 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_drains_when_its_terminal_is_closed(serve, aiki, own, flows, processes):
    command = serve("terminal", "--processes", processes)
    gate = hold(aiki, own, flows)
    command.stderr.leave()
    gate.touch()
    assert command.ends() == 0
    assert recorded(aiki, own) == 1


def test_the_workers_of_a_killed_fleet_drain_and_end(serve, aiki, own, flows):
    fleet = serve("full", "--processes", "2")
    workers = descendants(fleet.process.pid)
    gate = hold(aiki, own, flows)
    fleet.process.kill()
    fleet.process.wait()
    gate.touch()
    wait_until_sync(lambda: not any(is_alive(pid) for pid in workers), what="the end of its workers")
    assert recorded(aiki, own) == 1
    assert aiki("status", "-o", "json", env=own).json["workers"] == 0


STUCK = """
import time
from aiki import WorkflowRun, task, workflow


@task
async def holds(sign: str) -> None:
    open(sign, "w").close()
    time.sleep(1000)


@workflow(name="stuck", version="1")
async def stuck(run: WorkflowRun, sign: str) -> None:
    await holds.run(run, sign)
"""


def test_a_second_signal_ends_a_worker_whose_loop_user_code_holds(serve, aiki, own, flows):
    (flows / "stuck.py").write_text(STUCK)
    command = serve("kept", "-m", "stuck")
    aiki("enqueue", "stuck", f"sign={flows / 'sign'}", env=own)
    wait_until_sync((flows / "sign").exists, what="the task that holds the loop")
    command.process.send_signal(Signals.SIGTERM)
    command.process.send_signal(Signals.SIGHUP)
    assert command.ends(3) in {129, 143}


@pytest.mark.parametrize("kind", HARMS)
def test_aikid_stops_in_order_whatever_has_become_of_its_stderr(
    aiki: Aiki, database: str, nats: Nats, namespace: str, folder: Path, started: list[Command], kind: str
) -> None:
    env = clean_environment(AIKI_DATABASE_URL=database, AIKI_NATS_URL=nats.url)
    command = Command([sys.executable, "-m", "aikid", "--log-level", "debug"], Stderr(kind), env, folder)
    started.append(command)
    asked = {"AIKI_URL": nats.url, "AIKI_NAMESPACE": namespace}
    wait_until_sync(lambda: aiki("status", env=asked).code == 0, 30, what="an answer of aikid")
    if kind == "gone":
        command.stderr.leave()
    command.process.send_signal(Signals.SIGTERM)
    assert command.ends() == 0
