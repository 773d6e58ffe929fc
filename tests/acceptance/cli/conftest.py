"""The command line as processes: `aiki(...)` runs it to its end, `start_worker(...)` serves flows of the test's own."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Aikid, Program, clean_environment, warm
from tests.waiting import patient

AIKI = [sys.executable, "-m", "aiki_cli"]

FLOWS = '''
"""Workflows that end in each way there is."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from aiki import Child, ChildFailed, Event, Fatal, Retry, TaskFailed, WorkflowRun, task, task_run, workflow


@dataclass
class Vote:
    by: str
    weight: int = 1


approved, voted = Event("approved", type=str), Event("voted", type=Vote)


@task
async def shout(text: str) -> str:
    return text.upper()


@task(retry=Retry.none())
async def break_down(reason: str) -> None:
    raise RuntimeError(reason)


@task
async def hold(gate: str) -> str:
    while not Path(gate).exists():
        await asyncio.sleep(0.02)
    return "open"


@workflow(name="hello", version="1")
async def hello(run: WorkflowRun, name: str = "Ada", times: int = 1) -> str:
    return " ".join([await shout.run(run, f"hello {name}") for _ in range(times)])


@task(retry=Retry.fixed(max_attempts=2, delay="4.5s"))
async def stumble() -> None:
    raise TimeoutError("no answer")


@workflow(name="stumbling", version="1")
async def stumbling(run: WorkflowRun) -> None:
    await stumble.run(run)


@task
async def copy(gate: str) -> None:
    for part in (0.4, 0.8):
        task_run().progress(part, "files")
        await hold(f"{gate}-{part}")


@workflow(name="copying", version="1")
async def copying(run: WorkflowRun, gate: str) -> None:
    await copy.run(run, gate)


@workflow(name="failing", version="1")
async def failing(run: WorkflowRun, reason: str) -> None:
    await break_down.run(run, reason)


@task(retry=Retry.none())
async def mend(gate: str) -> str:
    if not Path(gate).exists():
        raise FileNotFoundError(gate)
    return "mended"


@workflow(name="mending", version="1")
async def mending(run: WorkflowRun, gate: str, undo: bool = False) -> str:
    try:
        return await mend.run(run, gate)
    except TaskFailed:
        if undo:
            await shout.run(run, "undone")
        raise


@workflow(name="stubborn", version="1", retry=Retry.fixed(3, "1h"))
async def stubborn(run: WorkflowRun, gate: str) -> str:
    return await mend.run(run, gate)


@workflow(name="held", version="1")
async def held(run: WorkflowRun, gate: str) -> str:
    return await hold.run(run, gate)


@workflow(name="showing", version="1")
async def showing(run: WorkflowRun, gate: str) -> None:
    for step in ("one", "two"):
        run.set_details({"step": step})
        await hold.run(run, f"{gate}-{step}")


@workflow(name="sleeper", version="1")
async def sleeper(run: WorkflowRun) -> None:
    await run.sleep("1h")


@workflow(name="leaf", version="1")
async def leaf(run: WorkflowRun, gate: str, fails: bool = False) -> str:
    opened = await hold.run(run, gate)
    return await break_down.run(run, "no luck") or "" if fails else opened


@workflow(name="branch", version="1")
async def branch(run: WorkflowRun, gate: str, leaves: int) -> int:
    labelled = leaf.options(labels={"city": "Łódź", "team": "a"})
    children = [await labelled.start(run, gate, fails=not number) for number in range(leaves)]
    return sum([not await fails(child) for child in children])


async def fails(child: Child[str]) -> bool:
    try:
        await child.result()
    except ChildFailed:
        return True
    return False


@workflow(name="tree", version="1")
async def tree(run: WorkflowRun, gate: str, leaves: int) -> int:
    return await branch.options(priority=5).run(run, gate, leaves)


@workflow(name="asking", version="1", events=[approved, voted])
async def asking(run: WorkflowRun) -> str:
    return f"approved by {await run.wait_for(approved)}"
'''


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Aiki = Callable[..., Done]
Start = Callable[..., Program]


@pytest.fixture(scope="module")
def environment(aikid: Aikid) -> dict[str, str]:
    """The variables that `aiki` gets: the shared daemon, and a namespace of this module's own."""
    return clean_environment(AIKI_URL=aikid.nats_url, AIKI_NAMESPACE=f"cli-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """The folder where commands run; it holds the module `flows`."""
    (tmp_path / "flows.py").write_text(FLOWS)
    return tmp_path


@pytest.fixture
def aiki(environment: Mapping[str, str], flows: Path) -> Aiki:
    """Run `aiki` with some arguments to its end."""

    def run(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Done:
        every = {**environment, **(env or {})}
        done = warm.run([*AIKI, *arguments], stdin=stdin.encode(), env=every, cwd=flows, timeout=patient(60))
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def start(environment: Mapping[str, str], flows: Path) -> Iterator[Start]:
    """Start `aiki` with some arguments and let it run."""
    with _starting(environment, flows) as start:
        yield start


@pytest.fixture(scope="module")
def worker(environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The module's worker, which serves the flows."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "flows.py").write_text(FLOWS)
    with _starting(environment, folder) as start:
        program = start("worker", "start", "-m", "flows")
        program.wait_for_log("serves")
        yield program


@pytest.fixture
def own(start: Start, namespace: str) -> dict[str, str]:
    """Variables of a namespace of the test's own, with a worker in it."""
    own = {"AIKI_NAMESPACE": namespace}
    start("worker", "start", "-m", "flows", env=own).wait_for_log("serves")
    return own


@contextmanager
def _starting(environment: Mapping[str, str], folder: Path) -> Iterator[Start]:
    started: list[Program] = []

    def start(*arguments: str, env: Mapping[str, str] | None = None) -> Program:
        program = Program(
            [*AIKI, *arguments], folder, name=f"aiki{len(started)}", env={**environment, **(env or {})}, cwd=folder
        )
        program.start()
        started.append(program)
        return program

    try:
        yield start
    finally:
        for program in started:
            program.close()
