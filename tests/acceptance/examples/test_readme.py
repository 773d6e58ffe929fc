"""The README's example is run as it stands there, with the commands that stand below it."""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.examples.commands import ROOT, aiki
from tests.servers import Program

README = (ROOT / "README.md").read_text()
SHOP = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if block.startswith("# shop.py"))
ENQUEUE = next(line for line in README.splitlines() if line.startswith("$ aiki enqueue process-order"))


@pytest.fixture
def project(folder: Path, aiki_env: dict[str, str]) -> Iterator[Path]:
    """A folder that holds nothing but the README's shop.py, with a worker that serves it."""
    (folder / "shop.py").write_text(SHOP)
    command = [sys.executable, "-m", "aiki_cli", "worker", "start", "-m", "shop"]
    worker = Program(command, folder, name="worker", env=aiki_env, cwd=folder, can_be_warm=False)
    try:
        worker.start()
        worker.wait_for_log("serves ")
        yield folder
    finally:
        worker.close()


def test_the_readmes_example_does_what_it_says(project: Path, aiki_env: dict[str, str]) -> None:
    enqueued = aiki(*shlex.split(ENQUEUE)[2:], env=aiki_env, cwd=project)
    assert enqueued.returncode == 0, enqueued.stderr
    result = json.loads(enqueued.stdout)
    assert re.fullmatch(r"receipt-[0-9a-f]{8}", result["receipt"])
    assert result["parcel"] == "parcel for o-1"

    again = aiki(*shlex.split(ENQUEUE)[2:], env=aiki_env, cwd=project)
    assert json.loads(again.stdout) == result
    history = aiki("run", "history", "process-order@o-1", env=aiki_env, cwd=project)
    assert [line.split("\t")[1] for line in history.stdout.splitlines()].count("entry") == 3


def test_the_readmes_example_has_twenty_lines_and_its_other_code_parses() -> None:
    assert len(SHOP.splitlines()) <= 20
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
