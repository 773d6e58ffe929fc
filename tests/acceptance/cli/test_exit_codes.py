"""Each exit code provoked: what is said of it, in words and as JSON, and a hint that our own parser takes."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aiki_cli import app, exits
from tests.acceptance.cli.conftest import AIKI, Aiki, Start
from tests.acceptance.cli.test_hostile_text import HostileDaemon
from tests.servers import Nats
from tests.waiting import patient, wait_until_sync

NOBODY = "nats://127.0.0.1:1"


@dataclass(frozen=True)
class Case:
    """A command that comes to an exit code; runs stand in it as GOING, PAUSED and CANCELLED."""

    exit: int
    typed: str
    code: str | None = None
    """The stable one in JSON; None where the result tells, and nothing went wrong."""
    says: str = ""
    """What happened, and why: a pattern."""
    hint: str | None = None
    """What to do next: a pattern of it, None where nobody can know."""


CASES = [
    Case(0, "enqueue hello --wait"),
    Case(1, "enqueue failing reason=x --wait", "run_failed", r"failed .*x.*\n  at .*flows\.py:\d+", "aiki run show ID"),
    Case(2, "runs list --limit 3", "usage", "aiki runs: did you mean run list", "aiki -q run list --limit 3"),
    Case(2, "wait GOING --timeout 5", "usage", "'5' is not a duration", "5s"),
    Case(3, "wait CANCELLED", "run_cancelled", r"was cancelled \(.*\)", "aiki run history ID"),
    Case(4, "enqueue sleeper --run-timeout 100ms --wait", "run_failed", "its deadline has passed", "aiki run show ID"),
    Case(5, "status hello@nobody", "not_found", "no run matches 'hello@nobody' in namespace", "aiki run list"),
    Case(5, "enqueue helo", "not_found", "'helo' is not registered .*: did you mean 'hello'", "aiki enqueue hello"),
    Case(6, "enqueue hello name=B --key taken", "conflict", "key 'taken' .* another input by run", "aiki status ID"),
    Case(7, "wait PAUSED", "run_blocked", "is paused: .* wants it paused", "aiki run resume ID"),
    Case(8, "status GOING --exit-status"),
    Case(65, "enqueue hello nam=x", "payload", r"\$: 'nam' is not known \(did you mean 'name'\?\)"),
    Case(65, "enqueue hello name:=7", "payload", r"\$\.name: must be string, not 7", "name=text is text.*"),
    Case(66, "enqueue hello -p @missing", "no_input", r"cannot read missing \(No such file"),
    Case(69, f"status --url {NOBODY}", "unavailable", r"127\.0\.0\.1:1.*Connection refused", r".*aiki dev.*"),
    Case(78, "status -f nowhere.yaml", "config", r"nowhere\.yaml \(No such file"),
    Case(124, "wait GOING --timeout 100ms", "wait_timeout", r"not ended within 0\.1 s; it goes on", "aiki wait ID"),
]  # fmt: skip

ELSEWHERE = {70, 74, 75, 77, 129, 130, 143}
"""They take a server, a stream or a signal of their own: see below."""


def test_every_code_of_the_table_is_provoked_here() -> None:
    known = {code for name, code in vars(exits).items() if name.isupper() and isinstance(code, int)}
    assert {case.exit for case in CASES} | ELSEWHERE == known


@pytest.fixture(scope="module")
def runs() -> dict[str, str]:
    """The runs that cases name, once they are there."""
    return {}


@pytest.fixture
def typed(aiki: Aiki, worker: object, runs: dict[str, str]) -> Callable[[str], list[str]]:
    if not runs:
        aiki("enqueue", "hello", "name=A", "--key", "taken")
        for name in ("GOING", "PAUSED", "CANCELLED"):
            runs[name] = aiki("enqueue", "sleeper", "-o", "ids").lines[0]
        assert aiki("run", "pause", runs["PAUSED"]).code == aiki("run", "cancel", runs["CANCELLED"]).code == 0
    return lambda words: [runs.get(word, word) for word in shlex.split(words)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.exit} {case.typed}")
def test_a_code_comes_with_what_and_why_and_what_to_do_next(
    case: Case, aiki: Aiki, typed: Callable[[str], list[str]]
) -> None:
    plain = aiki("-q", *typed(case.typed))
    assert plain.code == case.exit, plain
    if case.code is None:
        assert (plain.err, bool(plain.out)) == ("", True)
        return
    assert re.match(f"error: .*{case.says}", plain.err, re.DOTALL), plain.err
    assert plain.out == ""
    told = json.loads(aiki("-o", "json", *typed(case.typed)).err or "{}").get("error")
    if told is None:  # the result on stdout tells of it
        assert case.exit in {1, 3, 4, 7, 124}
    else:
        assert (told["code"], told["exit"]) == (case.code, case.exit)
        assert re.search(case.says, told["message"], re.DOTALL)
    check_hint(plain.err, case.hint)


def check_hint(said: str, wanted: str | None) -> None:
    hints = re.findall(r"^  hint: (.*)$", said, re.MULTILINE)
    assert len(hints) == (wanted is not None), said
    for hint in hints:
        assert re.fullmatch(str(wanted), re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", hint)), hint
        if hint.startswith("aiki "):
            parse(shlex.split(hint)[1:])


def parse(words: list[str]) -> None:
    """Have the command line read the words, and run nothing. Raises what it says of a wrong one."""
    command: Any = app.build(markup=False)
    context = command.make_context("aiki", words)
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, words, parent=context)


@pytest.fixture
def daemon(nats: Nats) -> Iterator[HostileDaemon]:
    with HostileDaemon(nats.url).answering() as daemon:
        yield daemon


def test_a_server_that_is_busy_is_75_and_one_that_knows_not_what_is_asked_69(
    aiki: Aiki, daemon: HostileDaemon, nats: Nats
) -> None:
    where = {"AIKI_URL": nats.url, "AIKI_NAMESPACE": daemon.namespace}
    for error, code in (("overloaded", 75), ("unsupported", 69)):
        daemon.error = error
        done = aiki("status", "-o", "json", env=where)
        told = json.loads(done.err)["error"]
        assert (done.code, done.out, told["code"], told["exit"]) == (code, "", error, code)


def test_a_server_that_refuses_us_is_77_and_says_what_would_open_it(aiki: Aiki, make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    nats.restart_with(authorization={"users": [{"user": "someone", "password": "else"}]})
    closed = aiki("status", "--url", nats.url)
    assert (closed.code, closed.out) == (77, "")
    assert "refuses us: Authorization Violation" in closed.err
    check_hint(closed.err, ".*AIKI_CREDS.*")


def test_a_full_disk_is_74_and_says_so(environment: Mapping[str, str], flows: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*AIKI, "completion", "fish"], env=environment, cwd=flows, stdout=full, stderr=-1, check=False
        )
    assert (done.returncode, done.stderr) == (74, b"error: stdout could not be written (No space left on device)\n")


BROKEN = """
import aiki_cli.words.references
async def find_all(client, references):
    raise KeyError("oops")
aiki_cli.words.references.find_all = find_all
"""


def test_a_bug_of_ours_is_70_and_says_how_to_see_where(environment: Mapping[str, str], flows: Path) -> None:
    (flows / "lib").mkdir()
    (flows / "lib" / "sitecustomize.py").write_text(BROKEN)
    for variables, has_trace in (({}, False), ({"AIKI_DEBUG": "1"}, True)):
        env = {**environment, "PYTHONPATH": str(flows / "lib"), **variables}
        done = subprocess.run([*AIKI, "why", "x@y"], env=env, cwd=flows, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (70, "")
        assert done.stderr.startswith("error: a bug in aiki: KeyError: 'oops' (")
        assert "  hint: set AIKI_DEBUG=1 and repeat" in done.stderr
        assert ("Traceback" in done.stderr) == has_trace


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str
)
def test_a_signal_before_the_work_was_done_says_that_nothing_was_cancelled_and_how_to_go_on(
    start: Start, worker: object, aiki: Aiki, flows: Path, number: signal.Signals, code: int
) -> None:
    gate = flows / "gate"
    label = f"code={code}"
    enqueued = start("enqueue", "held", f"gate={gate}", "--label", label, "--wait")
    (held,) = wait_until_sync(lambda: aiki("run", "list", "--label", label, "-o", "ids").lines, what="the run")
    aiki("enqueue", "hello", "--label", label, "--wait")
    waiting = start("wait", "--label", label, "--timeout", "1h")
    wait_until_sync(lambda: "completed" in waiting.printed(), what="the first outcome")
    for command, says in (
        (enqueued, f"the run goes on: aiki wait {held}"),
        (waiting, f"nothing was cancelled; wait again: aiki wait --label {label} --timeout 1h"),
    ):
        assert command.terminate(number) == code
        assert says in command.logged()
        assert "Traceback" not in command.logged()
    gate.touch()
    assert aiki("wait", held, "--timeout", f"{patient(30)}s").out == '"open"\n', "it goes on all the same"
