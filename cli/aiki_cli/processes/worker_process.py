"""Own the command line and environment of a worker process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from aiki_cli.session import Session

DEFAULT_RUNS: Final = 100
SAFE_PATH: Final = "-P"
"""Python's option for a process that must not import from its working directory before we say so."""


def worker_command(
    session: Session, modules: Sequence[str], *, runs: int, drain_seconds: float, further: Sequence[str] = ()
) -> list[str]:
    """Return the command of one worker process that serves `modules` as this session would, with `further` options."""
    command = [sys.executable, SAFE_PATH, "-m", "aiki_cli", "worker", "start"]
    for module in modules:
        command += ["-m", module]
    command += ["--max-concurrent-runs", str(runs), "--drain", f"{round(drain_seconds * 1000)}ms", *further]
    common = session.common
    for flag, value in (
        ("--url", common.url),
        ("--namespace", common.namespace),
        ("--profile", common.profile),
        ("--file", common.file),
    ):
        command += [flag, str(value)] if value else []
    for name, file in common.keys.items():
        command += [f"--{name.replace('_', '-')}", file] if file is not None else []
    command += ["--yes"]  # who starts it was asked
    return [*command, "--quiet"] if common.quiet else command


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker process that needs no second start to fix its hash seed."""
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
