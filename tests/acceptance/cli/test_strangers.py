"""A folder that a stranger filled: no command run in it, or below it, runs the stranger's code or connects anywhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import AIKI, Done
from tests.servers import Program, clean_environment, free_port, server_folder
from tests.waiting import patient

SCRIPT = Path(__file__).parents[3] / "completions" / "aiki.bash"
AIKI_SCRIPT = Path(sys.executable).with_name("aiki")
SHADOWS = ("typer", "yaml", "nats", "asyncio", "logging", "uvloop", "sqlalchemy", "aikid", "typing", "tempfile")
"""Modules that our programs import, at once or later."""


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """A server of the stranger's, to which nobody must connect."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def planted(stranger: socket.socket) -> Iterator[Path]:
    """A folder with a manifest, modules and shadows; whatever of it is imported leaves a file behind."""
    with server_folder() as folder:
        write = f"open({str(folder / 'was-run')!r}, 'a').write(__name__ + chr(10))\n"
        for name in (*SHADOWS, "flows", "hello"):
            (folder / f"{name}.py").write_text(write)
        port = stranger.getsockname()[1]
        (folder / "aiki.yaml").write_text(
            f"aiki: 1\nmodules: {{all: [flows]}}\nclient: {{url: 'nats://127.0.0.1:{port}'}}\n"
            f"profiles: {{live: {{client: {{url: 'nats://127.0.0.1:{port}'}}}}}}\n"
        )
        folder.chmod(0o777)
        (folder / "below").mkdir()
        yield folder


def run(command: list[str], folder: Path, **variables: str) -> Done:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=clean_environment(**variables),
        timeout=patient(60),
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def assert_untouched(folder: Path, stranger: socket.socket) -> None:
    assert not (folder / "was-run").exists(), (folder / "was-run").read_text()
    with pytest.raises(BlockingIOError):
        stranger.accept()


@pytest.mark.parametrize("below", [".", "below"])
@pytest.mark.parametrize(
    "arguments",
    [
        *(["status"], ["enqueue", "x"], ["run", "list"], ["worker", "start"], ["worker", "start", "-m", "all"]),
        *(["apply"], ["check"], ["check", "-m", "flows"]),
    ],
)
def test_a_manifest_that_others_may_write_is_refused_by_every_command(
    planted: Path, stranger: socket.socket, arguments: list[str], below: str
) -> None:
    done = run([str(AIKI_SCRIPT), *arguments], planted / below)
    assert (done.code, done.out) == (78, "")
    assert f"error: {planted}/aiki.yaml (owner: " in done.err
    assert f"-f {planted}/aiki.yaml" in done.err
    assert_untouched(planted, stranger)


def test_what_is_named_is_obeyed(planted: Path, stranger: socket.socket) -> None:
    assert run([*AIKI, "status", "-f", str(planted / "aiki.yaml")], planted).code == 69
    stranger.accept()[0].close()


def test_a_module_that_is_named_is_run(planted: Path) -> None:
    done = run([*AIKI, "worker", "start", "-m", "flows"], planted, AIKI_MANIFEST=str(planted / "aiki.yaml"))
    assert "holds no workflow" in done.err
    assert (planted / "was-run").read_text().splitlines()[-1] == "flows"


@pytest.mark.parametrize(("arguments", "code"), [(["check"], 0), (["check", "-o", "json"], 0), (["apply"], 69)])
def test_what_imports_the_modules_that_are_named_imports_nothing_else_of_their_folder(
    planted: Path, arguments: list[str], code: int
) -> None:
    body = "from aiki import workflow\n@workflow\nasync def empty(run) -> None:\n    return None\n"
    (planted / "flows.py").write_text((planted / "flows.py").read_text() + body)
    with (planted / "aiki.yaml").open("a") as manifest:
        manifest.write("project: shop\nschedules: {s: {workflow: empty, every: 1h}}\n")
    done = run([str(AIKI_SCRIPT), *arguments], planted, AIKI_MANIFEST=str(planted / "aiki.yaml"))
    assert done.code == code, done.err
    assert (planted / "was-run").read_text().splitlines() == ["flows"]


@pytest.mark.parametrize("command", [[str(AIKI_SCRIPT)], [sys.executable, "-P", "-m", "aiki_cli"]])
@pytest.mark.parametrize("arguments", [["status"], ["completion", "bash"], ["worker", "start", "-m", "nothing"]])
def test_nothing_in_the_working_directory_shadows_what_we_import(
    planted: Path, stranger: socket.socket, command: list[str], arguments: list[str]
) -> None:
    (planted / "aiki.yaml").unlink()
    done = run([*command, *arguments], planted, AIKI_URL="nats://127.0.0.1:1")
    assert done.code in {0, 69, 78}
    assert_untouched(planted, stranger)


def test_nothing_there_shadows_what_aiki_dev_and_its_daemon_import(planted: Path, stranger: socket.socket) -> None:
    (planted / "aiki.yaml").unlink()
    environment = clean_environment(AIKI_URL=f"nats://127.0.0.1:{free_port()}")
    dev = Program([str(AIKI_SCRIPT), "dev"], planted, name="dev", env=environment, cwd=planted)
    dev.start()
    try:
        dev.wait_for_log("no modules to serve")
        assert dev.terminate() == 0
    finally:
        dev.close()
    assert_untouched(planted, stranger)


def test_an_example_that_others_may_write_is_not_run(planted: Path, stranger: socket.socket) -> None:
    (planted / "aiki.yaml").unlink()
    (planted / "hello.py").chmod(0o666)
    done = run([str(AIKI_SCRIPT), "dev", "--example", "hello"], planted)
    assert (done.code, "hello.py is there, can be written by everybody, and would be run" in done.err) == (78, True)
    (planted / "hello.py").unlink()
    (planted / "hello.py").symlink_to(planted / "elsewhere.py")
    assert run([str(AIKI_SCRIPT), "dev", "--example", "hello"], planted).code == 78
    assert not (planted / "elsewhere.py").exists(), "an example is not written through a link"
    assert_untouched(planted, stranger)


def test_tab_runs_nothing_and_connects_nowhere(planted: Path, stranger: socket.socket) -> None:
    for words in ("'aiki' 'enqueue' ''", "'aiki' 'wait' '0'", "'aiki' 'status' '--profile' 'live' ''"):
        number = words.count(" ")
        program = f"source '{SCRIPT}'; COMP_WORDS=({words}); COMP_CWORD={number}; _aiki_completion aiki"
        path = f"{AIKI_SCRIPT.parent}:{os.environ['PATH']}"
        done = run(
            ["bash", "-c", f"{program}; echo ${{#COMPREPLY[@]}}"], planted / "below", PATH=path, HOME=str(planted)
        )
        assert (done.out, done.err) == ("0\n", "")
    assert_untouched(planted, stranger)
