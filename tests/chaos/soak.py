"""Run the chaos tests again and again for a while, at every lease, and say what they amounted to.

    python -m tests.chaos.soak [MINUTES]

Ends with the first round that fails, and 1. `make chaos MINUTES=20` is this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.chaos.promises import Summary

FOLDER = Path(__file__).parent


def main() -> int:
    """Run rounds until the time is over; return the exit code."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    began = time.monotonic()
    rounds = 0
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        environment = {**os.environ, "CHAOS_LONG": "1", "CHAOS_COUNTS": str(counts)}
        while True:
            command = [sys.executable, "-m", "pytest", "-q", "-n", "3", "--dist", "load", str(FOLDER)]
            code = subprocess.run(command, env=environment, check=False).returncode
            rounds += 1
            if code or time.monotonic() - began >= 60 * minutes:
                break
        if counts.exists():
            print(_total(counts.read_bytes(), rounds, time.monotonic() - began))
    return code


def _total(lines: bytes, rounds: int, seconds: float) -> str:
    """Return the sums over all scenarios that came to their check and passed it; those that failed are not counted."""
    summaries = msgspec.json.decode(b"[" + b",".join(lines.splitlines()) + b"]", type=list[Summary])
    sums: Counter[str] = Counter()
    for summary in summaries:
        sums.update(vars(summary))
    del sums["most_at_once"]
    told = ", ".join(f"{number:,} {name}" for name, number in sums.items())
    told += f", at most {max(summary.most_at_once for summary in summaries)} runs at once in a worker"
    return f"{seconds / 60:.0f} minutes, {rounds} rounds, {len(summaries)} scenarios without a violation: {told}"


if __name__ == "__main__":
    sys.exit(main())
