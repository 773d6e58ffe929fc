"""Workflows of the chaos tests whose tasks share keys with other runs; each try leaves what it saw in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aiki import Workflow, WorkflowRun, task, task_run, workflow
from aiki.core.failpoints import failpoint

FOLDER = "CHAOS_GATES"


@task(idempotency_scope="workflow")
async def charge(order: str) -> str:
    """Say which run tries it, with which key for the task's own services; and again at its end."""
    said = f"{task_run().run_id} {task_run().idempotency_key}"
    _say(order, f"begun {said}")
    failpoint("shared.inside_body")
    _say(order, f"ended {said}")
    return f"{order} by {task_run().run_id}"


@workflow
async def charging(run: WorkflowRun, order: str) -> str:
    return await charge.options(idempotency_key=order).run(run, order)


SHARED: list[Workflow[..., Any]] = [charging]


def said(folder: Path, order: str) -> list[list[str]]:
    """Return what tries have said so far: a word, the run, and the key that the task saw."""
    path = folder / f"shared-{order}"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _say(order: str, line: str) -> None:
    with (Path(os.environ[FOLDER]) / f"shared-{order}").open("a") as file:
        file.write(f"{line}\n")
