"""TAB on a terminal of each shell that is here: what is offered is a word to all of them, whatever it says."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import patient

SCRIPTS = Path(__file__).parents[3] / "completions"
SOURCED = {
    "bash": f"source '{SCRIPTS}/aiki.bash'",
    "zsh": f"fpath=('{SCRIPTS}' $fpath); autoload -Uz compinit; compinit -u -D",
    "fish": f"source '{SCRIPTS}/aiki.fish'",
}
STARTED = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "-N", "-i"]}
HOSTILE = [
    "$(touch evil)",
    "`touch evil`",
    "a;touch evil",
    "a'$(touch evil)'",
    'a"$(touch evil)"',
    "a\\$(touch evil)",
    "${$(touch evil)}",
    "<(touch evil)",
    "-x$(touch evil)",
    "größe",
    "a b:c=d",
]
SHELLS = [pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name}")) for name in SOURCED]

OWNING = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""A shell wants the terminal to be its own."""

STAND_IN = """#!{python}
import sys
from pathlib import Path
here = Path(__file__).parent
if sys.argv[1:2] == ["__complete"]:
    print((here / "answer").read_text())
else:
    (here / "given").write_text(repr(sys.argv[1:]))
"""


class Terminal:
    """A shell on a terminal."""

    def __init__(self, shell: str, environment: dict[str, str], folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self._shell = subprocess.Popen(
            [sys.executable, "-c", OWNING, *STARTED[shell]],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        os.close(theirs)
        self._shown = b""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def see(self, text: str) -> str:
        """Return what was shown until the text came."""
        deadline = time.monotonic() + patient(20)
        while text.encode() not in self._shown:
            assert select.select([self._ours], [], [], max(0, deadline - time.monotonic()))[0], self._shown
            self._shown += os.read(self._ours, 65536)
        before, _, self._shown = self._shown.partition(text.encode())
        return before.decode(errors="replace")

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path, environment):
    started: list[Terminal] = []

    def start(shell: str, path: Path) -> Terminal:
        variables = {"PATH": f"{path}:{environment['PATH']}", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
        more = {"TERM": "dumb", "PS1": "$ ", "LC_ALL": "C.UTF-8"}
        started.append(Terminal(shell, {**environment, **variables, **more}, tmp_path))
        started[-1].type(f"{SOURCED[shell]}; echo rea''dy\n")
        started[-1].see("ready\r\n")
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_word_that_a_server_has_sent_is_inert(terminal, tmp_path, shell):
    """Also were it to come through our own filter: one that stands in for aiki offers it raw, and it is sent off."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "aiki"
    stand_in.write_text(STAND_IN.format(python=sys.executable))
    stand_in.chmod(0o755)
    on = terminal(shell, tmp_path / "bin")
    for word in HOSTILE:
        (stand_in.parent / "answer").write_text(
            f"words\n{word}\t{word} {word}\n" if shell != "bash" else f"words\n{word}"
        )
        (stand_in.parent / "given").unlink(missing_ok=True)
        on.type("aiki x \t")
        on.type("\necho do''ne\n")
        on.see("done\r\n")
        assert not list(tmp_path.rglob("evil")), word
        assert (stand_in.parent / "given").read_text() == repr(["x", word])


@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_tab_offers_something(terminal, shell):
    """In zsh the script is autoloaded then: what it defines must complete at once."""
    on = terminal(shell, Path(sys.executable).parent)
    on.type("aiki comp\t")
    on.see("completion ")
    on.type("\x15aiki run list --state sched\t")
    on.see("scheduled ")
