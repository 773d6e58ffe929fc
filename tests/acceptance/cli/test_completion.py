"""TAB in each shell that is here, through the script that is shipped, with the daemon's own names."""

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

from tests.waiting import patient, wait_until_sync

SCRIPTS = Path(__file__).parents[3] / "completions"
SCRIPT = SCRIPTS / "aiki.bash"


@pytest.fixture
def shell_environment(environment, flows):
    """The variables of a shell that finds `aiki`."""
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return {**environment, "PATH": path, "XDG_CACHE_HOME": str(flows / "cache"), "HOME": str(flows), "TERM": "dumb"}


@pytest.fixture
def tab(shell_environment, flows):
    """Return what bash offers after some words, the last of which is unfinished."""

    def press(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        program = (
            f"source '{SCRIPT}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
            "_aiki_completion aiki; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(
            ["bash", "-c", program],
            env=shell_environment,
            cwd=flows,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return press


@pytest.fixture
def asked(tab):
    """Return what bash offers once the daemon answers within the second that TAB waits for it."""

    def press(*words: str) -> list[str]:
        return wait_until_sync(lambda: tab(*words), 20, what=f"something to offer after {words}")

    return press


def test_tab_offers_commands_options_and_states(tab):
    assert tab("aiki", "st") == ["status"]
    looking, orders = ["list", "show", "history", "export", "import"], ["pause", "resume", "cancel", "wake", "retry"]
    assert tab("aiki", "run", "") == [*looking, *orders, "move", "delete"]
    assert tab("aiki", "run", "list", "--st") == ["--state"]
    assert tab("aiki", "run", "list", "--state", "b") == ["blocked"]


def test_tab_offers_what_the_daemon_knows_and_remembers_it(asked, aiki, worker, flows):
    run_id = aiki("enqueue", "hello").lines[0]
    assert asked("aiki", "enqueue", "he") == ["held", "hello"]
    assert asked("aiki", "wait", run_id[:12]) == [run_id]
    (remembered,) = (flows / "cache" / "aiki").glob("workflows-*.json")
    remembered.write_text('[["heard", "version 1"]]')
    assert asked("aiki", "enqueue", "he") == ["heard"]


def test_tab_offers_the_members_of_a_payload_and_remembers_them(tab, asked, aiki, worker, flows):
    assert asked("aiki", "enqueue", "hello", "") == ["name=", "times:="]
    assert asked("aiki", "enqueue", "hello", "ti") == ["times:="]
    assert asked("aiki", "enqueue", "hello", "times:=2", "") == ["name="]
    assert asked("aiki", "enqueue", "failing", "") == ["reason="]
    (remembered,) = (flows / "cache" / "aiki").glob("members-hello-*.json")
    remembered.write_text('[["$(touch evil)=", "x"], ["a`b`=", "x"], ["order.cents:=", "x"]]')
    assert asked("aiki", "enqueue", "hello", "") == ["order.cents:="]
    assert tab("aiki", "enqueue", "../../x", "") == []


def test_tab_offers_runs_then_declared_events_then_what_they_carry(asked, aiki, worker):
    run_id = aiki("enqueue", "asking").lines[0]
    assert asked("aiki", "event", "send", run_id[:12]) == [run_id]
    assert asked("aiki", "event", "send", run_id, "") == ["approved", "voted"]
    assert asked("aiki", "event", "send", "--state", "waiting", "a") == ["approved"]
    assert asked("aiki", "event", "send", run_id, "voted", "") == ["by=", "weight:="]
    assert asked("aiki", "event", "send", run_id, "voted", "by=x", "") == ["weight:="]


def test_tab_offers_schedules_that_are_not_named_yet_and_the_words_of_their_flags(tab, asked, aiki, worker, flows):
    for name in ("nightly", "pulse"):
        aiki("schedule", "create", name, "hello", "--every", "1h")
    assert asked("aiki", "schedule", "show", "n") == ["nightly"]
    assert asked("aiki", "schedule", "pause", "pulse", "") == ["nightly"]
    assert asked("aiki", "schedule", "create", "x", "hello", "n") == ["name="]
    assert tab("aiki", "schedule", "create", "x", "hello", "--overlap", "c") == ["cancel_previous"]
    (remembered,) = (flows / "cache" / "aiki").glob("schedules-*.json")
    remembered.write_text('[["$(touch evil)", "x"], ["night", "x"]]')
    assert asked("aiki", "schedule", "show", "") == ["night"]


def test_tab_offers_what_can_be_served(tab, flows):
    (flows / "reports").mkdir()
    (flows / "reports" / "__init__.py").touch()
    assert tab("aiki", "worker", "start", "-m", "") == ["flows", "reports"]
    (flows / "aiki.yaml").write_text("aiki: 1\nmodules: {all-of-it: [flows]}\n")
    assert tab("aiki", "dev", "-m", "al") == ["all-of-it"]
    (flows / "aiki.yaml").write_text("no manifest")
    assert tab("aiki", "dev", "-m", "") == []


def test_tab_is_silent_when_nobody_answers(tab):
    assert tab("aiki", "enqueue", "--url", "nats://127.0.0.1:1", "he") == []


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_the_first_tab_in_zsh_offers_something(shell_environment, flows):
    """The script is autoloaded then: what it defines must complete at once."""
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=shell_environment, cwd=flows
    )
    os.close(theirs)
    try:
        os.write(ours, f"fpath=('{SCRIPTS}' $fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy\n".encode())
        shown(ours, b"ready\r\n")
        os.write(ours, b"aiki comp\t")
        shown(ours, b"completion ")
        os.write(ours, b"\x15aiki run list --state sched\t")
        shown(ours, b"scheduled ")
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def shown(terminal: int, text: bytes) -> None:
    """Read from a terminal until it has shown the text."""
    drawn = b""
    deadline = time.monotonic() + patient(20)
    while text not in drawn:
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], drawn
        drawn += os.read(terminal, 65536)


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_tab_in_fish_offers_words_with_what_they_are(shell_environment, flows):
    program = f"source '{SCRIPTS}/aiki.fish'; complete -C 'aiki sta'; complete -C 'aiki run list --state sched'"
    done = subprocess.run(
        ["fish", "-c", program],
        env=shell_environment,
        cwd=flows,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert done.stdout.splitlines()[0].split("\t") == ["status", "Show runs, or a summary of all."]
    assert "scheduled" in done.stdout
