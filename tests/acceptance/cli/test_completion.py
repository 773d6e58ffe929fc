"""TAB in each shell that is here, through the script that is shipped, with the daemon's own names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import patient, wait_until_sync

SCRIPTS = Path(__file__).parents[3] / "completions"
SCRIPT = SCRIPTS / "aiki.bash"

PRESS = """
source '{script}'
COMP_LINE={line} COMP_POINT=${{#COMP_LINE}}
COMP_WORDS=({parted}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_aiki_completion aiki
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def shell_environment(environment, flows):
    """The variables of a shell that finds `aiki`."""
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return {**environment, "PATH": path, "XDG_CACHE_HOME": str(flows / "cache"), "HOME": str(flows), "TERM": "dumb"}


@pytest.fixture
def tab(shell_environment, flows):
    """Return what bash offers after some words, the last of which is unfinished."""

    def press(*words: str) -> list[str]:
        parted = [part for word in words for part in _parted(word)]
        program = PRESS.format(
            script=SCRIPT, line=_quoted(" ".join(words)), parted=" ".join(_quoted(part) for part in parted)
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


def _parted(word: str) -> list[str]:
    """Return what bash makes of a word: it parts it at `=`, `:` and `@`."""
    parts = [""]
    for sign in word:
        if (sign in "=:@") != (parts[-1][-1:] in tuple("=:@")) and parts[-1]:
            parts.append("")
        parts[-1] += sign
    return parts


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@pytest.fixture
def asked(tab):
    """Return what bash offers once the daemon answers within the second that TAB waits for it."""

    def press(*words: str) -> list[str]:
        return wait_until_sync(lambda: tab(*words), 20, what=f"something to offer after {words}")

    return press


@pytest.fixture
def forget(flows):
    """Forget what the daemon has said."""
    return lambda: shutil.rmtree(flows / "cache", ignore_errors=True)


def test_tab_offers_commands_options_and_states(tab):
    assert tab("aiki", "st") == ["status"]
    looking, orders = ["list", "show", "history", "export", "import"], ["pause", "resume", "cancel", "wake", "retry"]
    assert tab("aiki", "run", "") == [*looking, *orders, "move", "delete"]
    assert tab("aiki", "run", "list", "--stat") == ["--state"]
    assert tab("aiki", "run", "list", "--state", "b") == ["blocked"]
    assert tab("aiki", "run", "list", "--state=b") == ["blocked"]
    assert tab("aiki", "run", "list", "--state", "queued,b") == ["queued,blocked"]
    assert tab("aiki", "-o", "json", "run", "list", "--out") == []
    assert tab("aiki", "-o", "j") == ["json", "jsonl"]
    assert tab("aiki", "nothing", "") == []


def test_tab_offers_files_where_files_are_meant(tab, flows):
    for name in ("rows.jsonl", "row 1.csv"):
        (flows / name).touch()
    assert tab("aiki", "enqueue", "hello", "--from", "rows") == ["rows.jsonl"]
    assert tab("aiki", "enqueue", "hello", "-p", "@rows") == ["rows.jsonl"]
    assert tab("aiki", "enqueue", "hello", "--key", "rows") == []


def test_tab_offers_what_the_daemon_knows_and_remembers_it(asked, aiki, worker, flows, forget):
    run_id = aiki("enqueue", "hello").lines[0]
    assert asked("aiki", "enqueue", "he") == ["held", "hello"]
    forget()
    assert asked("aiki", "wait", run_id[:12]) == [run_id]
    assert asked("aiki", "event", "send", "--state", "waiting", "a") == ["approved"]
    (remembered,) = (flows / "cache" / "aiki").iterdir()
    remembered.write_text("workflow\theard\tversion 1\t\t\t0\n")
    assert asked("aiki", "enqueue", "he") == ["heard"]


def test_tab_offers_the_members_of_a_payload(tab, asked, worker):
    assert asked("aiki", "enqueue", "hello", "") == ["name=", "times:="]
    assert asked("aiki", "enqueue", "hello", "ti") == ["times:="]
    assert asked("aiki", "enqueue", "hello", "times:") == ["="]
    assert asked("aiki", "enqueue", "hello", "times:=2", "") == ["name="]
    assert asked("aiki", "enqueue", "failing", "") == ["reason="]
    assert tab("aiki", "enqueue", "../../x", "") == []


def test_tab_offers_runs_then_declared_events_then_what_they_carry(asked, aiki, worker, forget):
    asking, other = aiki("enqueue", "asking").lines[0], aiki("enqueue", "sleeper").lines[0]
    forget()
    assert asked("aiki", "event", "send", asking[:12]) == [asking]
    assert asked("aiki", "wait", "")[:2] == [other, asking]
    assert asked("aiki", "event", "send", asking, "") == ["approved", "voted"]
    assert asked("aiki", "event", "send", asking, "voted", "") == ["by=", "weight:="]
    assert asked("aiki", "event", "send", asking, "voted", "by=x", "") == ["weight:="]


def test_tab_offers_schedules_that_are_not_named_yet_and_the_words_of_their_flags(tab, asked, aiki, worker):
    for name in ("nightly", "pulse"):
        aiki("schedule", "create", name, "hello", "--every", "1h")
    assert asked("aiki", "schedule", "show", "n") == ["nightly"]
    assert asked("aiki", "schedule", "pause", "pulse", "") == ["nightly"]
    assert asked("aiki", "schedule", "create", "x", "hello", "n") == ["name="]
    assert tab("aiki", "schedule", "create", "x", "hello", "--overlap", "c") == ["cancel_previous"]


def test_tab_offers_what_can_be_served_and_the_profiles(asked, tab, flows, forget):
    (flows / "reports").mkdir()
    (flows / "reports" / "__init__.py").touch()
    assert asked("aiki", "worker", "start", "-m", "") == ["flows", "reports"]
    (flows / "aiki.yaml").write_text("aiki: 1\nmodules: {all-of-it: [flows]}\nprofiles: {prod: {}, test: {}}\n")
    forget()
    assert asked("aiki", "dev", "-m", "al") == ["all-of-it"]
    assert asked("aiki", "status", "--profile", "p") == ["prod"]
    (flows / "aiki.yaml").write_text("no manifest")
    forget()
    assert tab("aiki", "dev", "-m", "") == []


def test_tab_is_silent_when_nobody_answers(tab):
    assert tab("aiki", "enqueue", "--url", "nats://127.0.0.1:1", "he") == []


@pytest.mark.parametrize("home", ["", "/nonexistent", "/proc"])
def test_tab_needs_no_folder_to_keep_anything_in(tab, shell_environment, worker, home):
    shell_environment |= {"HOME": home, "XDG_CACHE_HOME": ""}
    assert wait_until_sync(lambda: tab("aiki", "enqueue", "he"), 20, what="an answer") == ["held", "hello"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_tab_in_fish_offers_words_with_what_they_are_and_files(shell_environment, flows):
    (flows / "rows.jsonl").touch()
    asked = (
        "aiki sta",
        "aiki run list --state sched",
        "aiki enqueue x --from ro",
        "aiki enqueue x -p @ro",
        "aiki why ",
    )
    program = f"source '{SCRIPTS}/aiki.fish'; " + "; ".join(f"complete -C '{line}'; echo" for line in asked)
    done = subprocess.run(
        ["fish", "-c", program],
        env=shell_environment,
        cwd=flows,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert done.stdout.splitlines()[:7] == [
        "status\tShow runs, or a summary of all",
        "",
        "scheduled",
        "",
        "rows.jsonl",
        "",
        "@rows.jsonl",
    ]
