"""The README's example is run as it stands there, with the commands that stand below it."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiki import Workflow
from aiki.replay import Finding, Recording, replay
from aiki.testing import TestEnv
from tests.acceptance.examples.commands import ROOT, aiki
from tests.servers import Program

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHOP, EXPENSES, TEST = (
    next(block for block in BLOCKS if block.startswith(f"# {name}.py"))
    for name in ("shop", "expenses", "test_expenses")
)


def command(beginning: str) -> list[str]:
    """Return the words of the README's first line that begins so."""
    line = next(line for line in README.splitlines() if line.startswith(f"$ aiki {beginning}"))
    return shlex.split(line, comments=True)[2:]


ENQUEUE = command("enqueue process-order")


@pytest.fixture
def project(folder: Path, aiki_env: dict[str, str]) -> Iterator[Path]:
    """A folder that holds nothing but the README's modules, with a worker that serves them."""
    (folder / "shop.py").write_text(SHOP)
    (folder / "expenses.py").write_text(EXPENSES)
    start = [sys.executable, "-m", "aiki_cli", "worker", "start", "-m", "shop", "-m", "expenses"]
    worker = Program(start, folder, name="worker", env=aiki_env, cwd=folder, can_be_warm=False)
    try:
        worker.start()
        worker.wait_for_log("serves ")
        yield folder
    finally:
        worker.close()


def test_the_readmes_example_does_what_it_says(project: Path, aiki_env: dict[str, str]) -> None:
    enqueued = aiki(*ENQUEUE, env=aiki_env, cwd=project)
    assert enqueued.returncode == 0, enqueued.stderr
    result = json.loads(enqueued.stdout)
    assert re.fullmatch(r"receipt-[0-9a-f]{8}", result["receipt"])
    assert result["parcel"] == "parcel for o-1"

    again = aiki(*ENQUEUE, env=aiki_env, cwd=project)
    assert json.loads(again.stdout) == result
    history = aiki("run", "history", "process-order@o-1", env=aiki_env, cwd=project)
    assert [line.split("\t")[1] for line in history.stdout.splitlines()].count("entry") == 3


def test_the_readmes_run_waits_for_its_event(project: Path, aiki_env: dict[str, str]) -> None:
    for words in (command("enqueue pay-expense"), command("event send pay-expense@")):
        told = aiki(*words, env=aiki_env, cwd=project)
        assert told.returncode == 0, told.stderr
    paid = aiki("wait", "pay-expense@o-1", "--timeout", "1m", env=aiki_env, cwd=project)
    assert re.fullmatch(r'"receipt-[0-9a-f]{8}, approved by Grace"', paid.stdout.strip()), paid.stderr


def test_the_readmes_test_passes(tmp_path: Path) -> None:
    for name, text in (("shop", SHOP), ("expenses", EXPENSES), ("test_expenses", TEST)):
        (tmp_path / f"{name}.py").write_text(text)
    run = "import asyncio, test_expenses as t; asyncio.run(t.test_an_expense_is_paid_when_somebody_approves())"
    subprocess.run([sys.executable, "-c", run], cwd=tmp_path, check=True)


def test_the_readmes_example_has_twenty_lines_and_its_other_code_parses() -> None:
    assert len(SHOP.splitlines()) <= 20
    for block in BLOCKS:
        compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


TASKS = """
from aiki import WorkflowRun, task, workflow

@task
def compose(name: str) -> str:
    return f"Dear {name}"

@task
def sign(text: str) -> str:
    return f"{text}, yours"

@task
def post(text: str) -> None: ...

"""
BEFORE, WHILE, AFTER = (block for block in BLOCKS if block.startswith("# letters.py"))


def letter(code: str) -> Workflow[..., Any]:
    made: dict[str, Any] = {}
    exec(TASKS + code, made)
    found: Workflow[..., Any] = made["letter"]
    return found


async def begun(workflow: Workflow[..., Any]) -> list[Recording]:
    """Return a run of this code that sleeps, as it is recorded."""
    async with TestEnv() as env:
        handle = await env.enqueue(workflow, "Ada")
        await env.advance("1d")
        return [recording async for recording in env.client.runs.export([handle.run_id])]


@pytest.mark.anyio
async def test_the_readmes_change_goes_through_its_three_stages() -> None:
    old, new = await begun(letter(BEFORE)), await begun(letter(WHILE))
    found = {
        (name, stage): replay(runs, [letter(code)])[0].finding
        for name, runs in (("old", old), ("new", new))
        for stage, code in (("while", WHILE), ("after", AFTER))
    }
    # The old side may go when no run is left that needs it, and not before.
    assert found == {
        ("old", "while"): Finding.COMPATIBLE,
        ("new", "while"): Finding.COMPATIBLE,
        ("old", "after"): Finding.DIVERGES,
        ("new", "after"): Finding.COMPATIBLE,
    }
