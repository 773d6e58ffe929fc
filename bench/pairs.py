"""Own the measuring of two trees: interleaved pairs of measurements in one run.

Both are measured by the bench folder of this tree, so that a tree that is older than a measurement has it too; each by
its own interpreter, with its own packages. Machines drift: only what was measured side by side can be compared.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.comparison import BASE, HERE, Row

MEASUREMENT_SECONDS = 600


def measure_pairs(base: Path, labels: Sequence[str], repeat: int) -> dict[str, list[Row]]:
    """Return the rows of both trees; each pair runs side by side, and every other one the other way round.

    Raises FileNotFoundError if `base` has no interpreter of its own.
    """
    interpreters = {BASE: base / ".venv" / "bin" / "python", HERE: Path(sys.executable)}
    if not interpreters[BASE].exists():
        raise FileNotFoundError(f"{interpreters[BASE]} is missing: make -C {base} .venv/ready")
    rows: dict[str, list[Row]] = {BASE: [], HERE: []}
    with _bench_alone() as folder:
        for turn in range(repeat):
            for label in labels:
                for tree in (BASE, HERE) if turn % 2 == 0 else (HERE, BASE):
                    row = _measure(interpreters[tree], folder, label)
                    print(json.dumps({"tree": tree, **row}), flush=True)
                    rows[tree].append(row)
    return rows


@contextmanager
def _bench_alone() -> Iterator[Path]:
    """Yield a folder that holds nothing but our `bench`: whatever runs in it takes Aiki from its own interpreter."""
    with tempfile.TemporaryDirectory(prefix="aiki-bench-") as name:
        folder = Path(name)
        (folder / "bench").symlink_to(Path(__file__).parent.resolve())
        yield folder


def _measure(interpreter: Path, folder: Path, label: str) -> Row:
    done = subprocess.run(
        [interpreter, "-m", "bench.measuring", label],
        cwd=folder,
        # One tree whose modules must be compiled at each start would look dear beside another.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.PIPE,
        text=True,
        timeout=MEASUREMENT_SECONDS,
        check=True,
    )
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row
