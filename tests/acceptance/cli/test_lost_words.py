"""Short commands whose streams are closed, full or not in UTF-8: the exit code stays what it is elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aiki_cli.commands.enqueue_rows import BATCH_ROWS
from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.streams import Stderr
from tests.waiting import patient

COMPLETES = ["enqueue", "hello", "name=Grüße", "--wait"]
FAILS = ["enqueue", "failing", "reason=no luck", "--wait", "-o", "json"]
IS_NOT_FOUND = ["status", "hello@nobody"]
Ends = Callable[..., tuple[int, bytes, bytes]]


@contextmanager
def broken(kind: str) -> Iterator[int]:
    """Give a descriptor that takes nothing: a full disk, or a pipe that nobody reads."""
    if kind == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reads, descriptor = os.pipe()
        os.close(reads)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture
def ends(environment: Mapping[str, str], flows: Path, worker: object) -> Ends:
    """Run `aiki` with some of its streams closed, or replaced, and return its exit code and what it said."""

    def run(
        *arguments: str,
        closed: tuple[int, ...] = (),
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            [*AIKI, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=flows,
            env={**environment, **(env or {})},
            preexec_fn=partial(_close, closed),
            timeout=patient(60),
            check=False,
        )
        assert b"Traceback" not in (done.stderr or b"")
        assert b"a bug in aiki" not in (done.stderr or b"")
        return done.returncode, done.stdout or b"", done.stderr or b""

    return run


@pytest.mark.parametrize(
    ("kind", "completed", "says"),
    [("closed", 74, b"it is closed"), ("full", 74, b"No space left on device"), ("gone", 0, b"")],
)
def test_a_result_that_stdout_did_not_take_is_no_success(ends: Ends, kind: str, completed: int, says: bytes) -> None:
    with broken(kind) as descriptor:
        how: dict[str, Any] = {"closed": (1,)} if kind == "closed" else {"stdout": descriptor}
        for arguments, code in ((COMPLETES, completed), (FAILS, 1), (IS_NOT_FOUND, 5), (["--version"], completed)):
            ended, _, said = ends(*arguments, **how)
            assert ended == code, arguments
            if arguments in (COMPLETES, FAILS):
                assert says in said


@pytest.mark.parametrize("kind", ["closed", "full", "gone"])
def test_stderr_has_no_say_in_the_exit_code(ends: Ends, kind: str) -> None:
    with broken(kind) as descriptor:
        how: dict[str, Any] = {"closed": (2,)} if kind == "closed" else {"stderr": descriptor}
        assert ends(*COMPLETES, **how)[:2] == (0, '"HELLO GRÜSSE"\n'.encode())
        assert ends(*FAILS, **how)[0] == 1
        assert ends(*IS_NOT_FOUND, **how)[0] == 5
        assert ends("frobnicate", **how)[0] == 2


def test_with_all_streams_closed_the_code_still_tells(ends: Ends) -> None:
    assert ends(*COMPLETES, closed=(0, 1, 2))[0] == 74
    assert ends(*IS_NOT_FOUND, closed=(0, 1, 2))[0] == 5


def test_what_reads_stdin_needs_one_and_nothing_else_does(ends: Ends) -> None:
    assert ends(*COMPLETES, closed=(0,))[0] == 0
    for source in ("-p", "--from"):
        code, _, said = ends("enqueue", "hello", source, "-", closed=(0,))
        assert (code, said.splitlines()[0]) == (66, b"error: cannot read stdin (it is closed)")
    writes = os.open(os.devnull, os.O_WRONLY)
    assert ends("enqueue", "hello", "-p", "-", stdin=writes)[0] == 66
    os.close(writes)


def test_rows_are_enqueued_to_the_end_although_nobody_reads_their_ids(ends: Ends, flows: Path) -> None:
    rows = BATCH_ROWS + 1
    (flows / "rows.jsonl").write_text("".join(f'{{"name": "unheard-{n}"}}\n' for n in range(rows)))
    command = ["enqueue", "hello", "--from", "rows.jsonl", "--key-field", "name", "--delay", "1h"]
    with broken("gone") as descriptor:
        assert ends(*command, stdout=descriptor)[0] == 0
    _, out, _ = ends(*command, "-o", "json")
    assert json.loads(out)["existing"] == rows


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_encoding_lacks_is_escaped(ends: Ends, encoding: str) -> None:
    env = {"PYTHONIOENCODING": encoding}
    code, out, _ = ends("enqueue", "hello", "name=é😀", "--wait", env=env)
    assert (code, json.loads(out.decode(encoding))) == (0, "HELLO É😀")
    code, out, _ = ends("run", "list", "-o", "table", env=env)
    assert (code, b"completed" in out) == (0, True)
    code, _, said = ends("status", "hello@é😀", "-o", "json", env=env)
    assert (code, "é😀" in json.loads(said.decode(encoding))["error"]["message"]) == (5, True)
    assert ends("enqueue", "--help", env=env)[0] == 0


def test_in_the_c_locale_words_are_utf8_all_the_same(ends: Ends, flows: Path) -> None:
    (flows / "ü.json").write_text('{"name": "Ä"}')
    for env in ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        assert ends("enqueue", "hello", "-p", "@ü.json", "--wait", env=env)[:2] == (0, '"HELLO Ä"\n'.encode())
        assert ends("enqueue", "hello", "name=é😀", "--wait", env=env)[:2] == (0, '"HELLO É😀"\n'.encode())


def test_a_bar_on_a_terminal_takes_no_line_from_the_result(ends: Ends, flows: Path) -> None:
    (flows / "rows.jsonl").write_text('{"name": "a"}\n{"name": "b"}\n')
    terminal = Stderr("terminal")
    try:
        for wait in ([], ["--wait"]):
            code, out, _ = ends("enqueue", "hello", "--from", "rows.jsonl", *wait, stderr=terminal.descriptor)
            assert (code, len(out.splitlines())) == (0, 2)
            assert "2/2" in terminal.read()
    finally:
        terminal.close()
