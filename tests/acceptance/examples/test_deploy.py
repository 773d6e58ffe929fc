"""The steps of `examples/deploy.yaml`, carried out on real runs: they let a deployment pass, or hold it up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aiki import Client
from examples.versions import greet_v1, greet_v2
from tests.acceptance.examples.commands import ROOT
from tests.servers import Program
from tests.waiting import ENOUGH, patient

pytestmark = pytest.mark.anyio

STEPS = ("the manifest, and what bodies read", "tests, in memory", "runs in flight, and of the last week, on this code")


def steps() -> dict[str, str]:
    jobs = yaml.safe_load((ROOT / "examples" / "deploy.yaml").read_text())["jobs"]
    return {step["name"]: step["run"] for step in jobs["deploy"]["steps"] if "name" in step}


def carried_out(step: str, worker: Program, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a step as CI does, where the checkout is `folder`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**worker.env, "PATH": path, "PYTHONPATH": str(folder)}
    shell = ["bash", "-e", "-c", steps()[step].replace("python ", f"{sys.executable} -P ")]
    return subprocess.run(shell, cwd=folder, env=env, capture_output=True, text=True, timeout=patient(120), check=False)


@pytest.fixture
async def greeted(client: Client) -> list[str]:
    """Runs of both versions that have ended."""
    handles = [await greet_v1.enqueue(client, "Ada"), await greet_v2.enqueue(client, "Bob", "de")]
    return [await handle.result(timeout=ENOUGH) for handle in handles]


async def test_what_has_not_changed_passes(greeted: list[str], examples_worker: Program) -> None:
    assert greeted == ["Dear Ada", "Hallo Bob, yours, Aiki"]
    for step in STEPS:
        done = carried_out(step, examples_worker, ROOT)
        assert done.returncode == 0, (step, done.stdout, done.stderr)
    assert "compatible" in done.stdout


async def test_a_change_that_does_not_fit_is_held_up(
    greeted: list[str], examples_worker: Program, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    versions = tmp_path / "examples" / "versions.py"
    code = versions.read_text()
    versions.write_text(
        code.replace("return await compose.run(run, name)", 'return await compose.run(run, name + "!")')
    )
    assert versions.read_text() != code
    done = carried_out(STEPS[-1], examples_worker, tmp_path)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "diverges" in done.stdout
