"""mypy and pyright, both strict, infer what they should and report every planted mistake, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = "tests/typing/flows.py"
BAD = "tests/typing/mistakes.py"


def mypy():
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--show-error-end", GOOD, BAD]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not found.stderr, found.stderr
    reports = re.findall(r"^(\S+?):(\d+):\d+:(\d+):\d+: error: (.*)$", found.stdout, re.MULTILINE)
    return [(name, range(int(first), int(last) + 1), text) for name, first, last, text in reports]


def pyright():
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, GOOD, BAD]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    reports = json.loads(found.stdout)["generalDiagnostics"]
    spans = [report["range"] for report in reports]
    return [
        (
            str(Path(report["file"]).relative_to(ROOT)),
            range(span["start"]["line"] + 1, span["end"]["line"] + 2),
            report["message"],
        )
        for report, span in zip(reports, spans, strict=True)
    ]


@pytest.mark.parametrize("reported", [mypy, pyright])
def test_what_is_right_is_inferred_and_every_planted_mistake_is_reported_and_nothing_else(reported):
    lines = (ROOT / BAD).read_text().splitlines()
    planted = {number for number, line in enumerate(lines, 1) if line.endswith("# E")}
    found = reported()
    strangers = [(name, span, text) for name, span, text in found if name != BAD or not planted & {*span}]
    missed = planted - {number for _, span, _ in found for number in span}
    assert (strangers, [lines[number - 1] for number in sorted(missed)]) == ([], [])
