"""How long short commands take, each as a ratio to a Python that does nothing: `python -m bench.start_up`.

    python -m bench.start_up [--runs 40] [--of path/to/checkout]

All of them run in turn, against a server of their own, so that what else the machine does meets them alike; medians.
The issue of the command line calls it W7, which is what workloads call events: here it is "start-up".
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.servers import BIN, cluster

RUNS: Final = 40
MOST: Final = {"--version": 2.2, "status -o json": 13.0, "enqueue": 14.0, "TAB, from what is kept": 2.0}
"""What they may take."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--of", type=Path, help="path of another checkout, with its own .venv")
    arguments = parser.parse_args()
    print(table(measure(arguments.runs, (arguments.of / ".venv" / "bin") if arguments.of else BIN)))


def table(found: Mapping[str, tuple[float, float]]) -> str:
    """Return one line per command: its time, its ratio, and what that may be."""
    bounds = {name: f"at most {MOST[name]:g}" if name in MOST else "" for name in found}
    return "\n".join(
        f"start-up: {name:34} {seconds * 1000:8.1f} ms {ratio:7.2f} x  {bounds[name]}".rstrip()
        for name, (seconds, ratio) in found.items()
    )


def measure(runs: int = RUNS, programs: Path = BIN) -> dict[str, tuple[float, float]]:
    """Return of each command its seconds, and what these are to those of a Python that does nothing."""
    with cluster() as running, tempfile.TemporaryDirectory() as folder:
        running.start_worker()
        environment = {
            **running.environment,
            "XDG_CACHE_HOME": folder,
            "PYTHONDONTWRITEBYTECODE": "",
        }
        commands = _commands(programs)
        for command in commands.values():  # what is compiled is kept, and what TAB is told of
            _run(command, environment, folder)
        _kept(commands["TAB, from what is kept"], environment, folder)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                seconds[name].append(_run(command, environment, folder))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return {name: (median, median / medians["python -c pass"]) for name, median in medians.items()}


def _commands(programs: Path) -> dict[str, Sequence[str | Path]]:
    aiki = programs / "aiki"
    return {
        "python -c pass": [programs / "python", "-c", "pass"],
        "--version": [aiki, "--version"],
        "--help": [aiki, "--help"],
        "TAB, from what is kept": [aiki, "__complete", "zsh", "enqueue", ""],
        "status -o json": [aiki, "status", "-o", "json"],
        "enqueue": [aiki, "enqueue", "steps", "k:=1", "payload:={}"],
    }


def _kept(command: Sequence[str | Path], environment: Mapping[str, str], folder: str) -> None:
    """Return once TAB offers what the worker serves."""
    while b"steps" not in subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=True).stdout:
        time.sleep(0.2)
        for kept in Path(folder).rglob("tab-*"):
            kept.unlink()


def _run(command: Sequence[str | Path], environment: Mapping[str, str], folder: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
