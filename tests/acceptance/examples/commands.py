"""The real command line as a subprocess."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import patient

ROOT = Path(__file__).parents[3]
SECONDS = 60.0


def aiki(*words: str, env: Mapping[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `aiki` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "aiki_cli", *words],
        env=dict(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(SECONDS),
    )
