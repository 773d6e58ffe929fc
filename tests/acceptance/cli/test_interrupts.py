"""Ctrl-C at any moment is an exit code, never a traceback."""

from __future__ import annotations

import subprocess

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.interrupts import sweep
from tests.waiting import patient

INTERRUPTING = """
import builtins, os, signal

class Finder:
    '''Sends Ctrl-C in the middle of the import that a test names.'''
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("INTERRUPT_AT"):
            os.kill(os.getpid(), signal.SIGINT)

import sys
sys.meta_path.insert(0, Finder())
"""


@pytest.fixture
def interrupted(environment, flows):
    """Run a command that gets Ctrl-C in the middle of an import; return its exit code and what it wrote."""
    (flows / "lib").mkdir()
    (flows / "lib" / "sitecustomize.py").write_text(INTERRUPTING)

    def run(at: str, *command: str, **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            command,
            env={**environment, "PYTHONPATH": str(flows / "lib"), "INTERRUPT_AT": at, **variables},
            cwd=flows,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    "at", ["typing", "aiki", "queue", "typer", "aiki_cli.app", "aiki_cli.commands.runs", "asyncio", "aiki.transport"]
)
def test_ctrl_c_while_a_command_is_imported_is_exit_code_130(interrupted, at):
    assert interrupted(at, *AIKI, "run", "list", "--url", "nats://127.0.0.1:1") == (130, "")


@pytest.mark.parametrize("at", ["flows", "aiki.worker"])
def test_ctrl_c_while_a_worker_imports_its_flows_is_exit_code_130(interrupted, at):
    assert interrupted(at, *AIKI, "worker", "start", "-m", "flows", PYTHONHASHSEED="0") == (130, "")


def test_ctrl_c_while_a_worker_ends_is_exit_code_130(interrupted, flows):
    """Python itself says what an exit's callbacks raise."""
    (flows / "late.py").write_text("import atexit, os\natexit.register(os.kill, os.getpid(), 2)\n")
    code, said = interrupted("nothing", *AIKI, "worker", "start", "-m", "late", PYTHONHASHSEED="0")
    assert (code, "holds no workflow" in said, "KeyboardInterrupt" in said) == (130, True, False)


@pytest.mark.parametrize(
    ("at", "ended"),
    [
        ("aiki_cli.tab.grammar", (130, "")),
        # By then another process asks, which has no terminal.
        ("aiki.transport", (0, "words\n")),
    ],
)
def test_ctrl_c_in_a_tab_writes_nothing_more(interrupted, flows, at, ended):
    command = [*AIKI, "__complete", "zsh", "enqueue", "no"]
    assert interrupted(at, *command, XDG_CACHE_HOME=str(flows)) == ended


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--watch"],
        ["enqueue", "sleeper", "--wait"],
        ["wait", "sleeper@waited-for"],
        ["worker", "start", "-m", "flows"],
    ],
    ids=lambda words: words[0],
)
def test_ctrl_c_at_any_moment_of_a_start_leaves_no_traceback(aiki, environment, flows, worker, words):
    """A sample; `make interrupts` tries each 10 ms of more commands."""
    aiki("enqueue", "sleeper", "--key", "waited-for")
    found = sweep([*AIKI, *words], environment, flows, until=0.9, step=0.15)
    assert not found.wrong
    assert sum(found.ends.values()) == 6
