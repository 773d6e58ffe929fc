"""TAB in bash, through the script that is shipped, with the daemon's own names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import patient

SCRIPT = Path(__file__).parents[3] / "completions" / "aiki.bash"


@pytest.fixture
def tab(environment, flows):
    """Return what bash offers after some words, the last of which is unfinished."""

    def press(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        program = (
            f"source '{SCRIPT}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
            "_aiki_completion aiki; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", program],
            env={**environment, "PATH": path, "XDG_CACHE_HOME": str(flows / "cache")},
            cwd=flows,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return press


def test_tab_offers_commands_options_and_states(tab):
    assert tab("aiki", "st") == ["status"]
    assert tab("aiki", "run", "") == ["list", "show", "history", "resume"]
    assert tab("aiki", "run", "list", "--st") == ["--state"]
    assert tab("aiki", "run", "list", "--state", "b") == ["blocked"]


def test_tab_offers_what_the_daemon_knows_and_remembers_it(tab, aiki, worker, flows):
    run_id = aiki("enqueue", "hello").lines[0]
    assert tab("aiki", "enqueue", "he") == ["held", "hello"]
    assert tab("aiki", "wait", run_id[:12]) == [run_id]
    (remembered,) = (flows / "cache" / "aiki").glob("workflows-*.json")
    remembered.write_text('[["heard", "version 1"]]')
    assert tab("aiki", "enqueue", "he") == ["heard"]


def test_tab_is_silent_when_nobody_answers(tab):
    assert tab("aiki", "enqueue", "--url", "nats://127.0.0.1:1", "he") == []
