"""The real command line as a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers import warm
from tests.waiting import patient

ROOT = Path(__file__).parents[3]
SECONDS = 60.0


def aiki(*words: str, env: Mapping[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `aiki` to its end."""
    command = [sys.executable, "-m", "aiki_cli", *words]
    return warm.run(command, env=env, cwd=cwd, timeout=patient(SECONDS))
