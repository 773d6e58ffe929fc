"""A run whose code has diverged needs a person: what the person sees, and how the run goes on."""

from __future__ import annotations

import signal

from tests.waiting import wait_until_sync

CODE = """
import asyncio
from pathlib import Path
from aiki import WorkflowRun, task, workflow

@task
async def one() -> int:
    return 1

@task
async def other() -> int:
    return 2

@task
async def hold(gate: str) -> None:
    while not Path(gate).exists():
        await asyncio.sleep(0.02)

@workflow(name="changing", version="1")
async def changing(run: WorkflowRun, gate: str) -> int:
    first = await one.run(run)
    await hold.run(run, gate)
    return first
"""


def test_a_diverged_run_is_exit_code_7_and_resume_continues_it(aiki, start, flows, namespace):
    own = {"AIKI_NAMESPACE": namespace}
    module = flows / "changing.py"
    gate = flows / "gate"
    command = ["worker", "start", "-m", "changing", "--drain", "100ms"]

    module.write_text(CODE)
    first = start(*command, env=own)
    first.wait_for_log("serves")
    run_id = aiki("enqueue", "changing", f"gate={gate}", "--key", "k", env=own).lines[0]
    wait_until_sync(lambda: "entry" in aiki("run", "history", run_id, env=own).out, 20, what="the first task's result")
    assert first.terminate(signal.SIGTERM) == 0

    module.write_text(CODE.replace("await one.run", "await other.run"))
    gate.touch()
    second = start(*command, env=own)
    waited = aiki("wait", "changing@k", "--timeout", "30s", env=own)
    assert waited.code == 7, (waited, aiki("run", "history", run_id, "-o", "table", env=own).out, second.logged())
    assert "is blocked" in waited.err
    assert f"aiki run resume {run_id}" in waited.err
    shown = aiki("status", run_id, "-o", "json", env=own).json
    assert shown["state"] == "blocked"
    assert "one" in shown["why"]
    assert "other" in shown["why"]
    assert aiki("status", run_id, "--exit-status", "--watch", env=own).code == 7
    assert second.terminate(signal.SIGTERM) == 0

    module.write_text(CODE)
    assert aiki("run", "resume", run_id, "-o", "json", env=own).json["state"] == "queued"
    start(*command, env=own)
    assert aiki("wait", run_id, "--timeout", "30s", env=own).out == "1\n"
