"""Ctrl-C at each moment of a command's start: `python -m tests.acceptance.cli.interrupts` (`make interrupts`).

A command is started again and again and gets SIGINT a little later each time, from Python's first moment on; it must
end by exit code 130, and never with a traceback. Before our first statement it is Python that is interrupted, and says
so with a traceback of its own: such ends are told apart by what stands there.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Found:
    """How a command ended, of all the moments that were tried."""

    ends: dict[int, int] = field(default_factory=dict)
    """How often it ended by each code."""
    before: int = 0
    """Python itself was interrupted, before our first statement."""
    wrong: list[str] = field(default_factory=list)


def sweep(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, *, until: float, step: float = 0.01
) -> Found:
    """Interrupt a command at each step from 0 to `until` seconds after it was started."""
    found = Found()
    for number in range(round(until / step)):
        code, said = interrupted(command, environment, folder, after=number * step)
        found.ends[code] = found.ends.get(code, 0) + 1
        if is_pythons(code, said):
            found.before += 1
        elif code not in {130, 0} or "Traceback" in said or "KeyboardInterrupt" in said:
            found.wrong.append(f"{number * step:.2f} s: {code}: {said[-2_000:]}")
    return found


def interrupted(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, *, after: float
) -> tuple[int, str]:
    """Return how the command ends that is interrupted after so many seconds, and all that it has written."""
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        said = f"it did not end: {process.communicate()[0]}"
    return process.returncode, said


def is_pythons(code: int, said: str) -> bool:
    """Tell whether Python was interrupted before it came to our first statement."""
    return code in {1, -signal.SIGINT} and not any(
        "main.py" in line and "in main" in line for line in said.splitlines()
    )


def main() -> None:
    """Sweep over the start of each long command, or of those that begin with a word that was given."""
    from bench.servers import BIN, cluster

    aiki = str(BIN / "aiki")
    with cluster() as running:
        folder = running.home
        environment = {**running.environment, "PYTHONPATH": str(Path(__file__).parents[3])}
        running.start_worker()
        sleeping = [aiki, "enqueue", "sleeper", "seconds:=600"]
        while not (run_id := subprocess.run(sleeping, env=environment, capture_output=True, text=True).stdout.strip()):
            time.sleep(0.2)  # until the worker has said what it serves
        for words in (words for words in COMMANDS if not sys.argv[1:] or words[0] in sys.argv[1:]):
            command = [aiki, *(run_id if word == "RUN" else word for word in words)]
            found = sweep(command, environment, folder, until=0.8 if words[0] not in {"dev", "worker"} else 1.5)
            told = f"before our first statement {found.before}, wrong {len(found.wrong)}"
            print(f"{' '.join(words):44} {found.ends} {told}", flush=True)
            for wrong in found.wrong[:3]:
                print(f"    {wrong}")


COMMANDS = (
    ("--version",),
    ("status",),
    ("status", "--watch"),
    ("status", "RUN", "--watch"),
    ("wait", "RUN"),
    ("enqueue", "sleeper", "seconds:=600", "--wait"),
    ("run", "list"),
    ("replay", "--workflow", "sleeper", "-m", "bench.flows"),
    ("worker", "start", "-m", "bench.flows"),
    ("schedule", "next", "--every", "1h"),
    ("__complete", "zsh", "enqueue", ""),
)

if __name__ == "__main__":
    main()
