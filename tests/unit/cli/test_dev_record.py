"""The word by which commands find the `aiki dev` of their project, and that none is believed which others may write."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aiki_cli.dev_record import DevRecord, find, recorded

NOBODY_LISTENS = "nats://127.0.0.1:1"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which an `aiki dev` has made its own."""
    folder = tmp_path.resolve() / "project"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / ".aiki").mkdir(mode=0o700)
    return folder


@pytest.fixture
def served() -> Iterator[str]:
    """The address of somebody who listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"nats://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def living(project: Path, served: str) -> DevRecord:
    return DevRecord(project, served, "shop", os.getpid())


def found(folder: Path) -> tuple[DevRecord | None, list[str]]:
    said: list[str] = []
    return find(folder, {}, said.append), said


def test_one_that_lives_is_found_upward_as_long_as_it_does(project: Path, living: DevRecord) -> None:
    assert found(project) == (None, [])
    with recorded(living):
        assert found(project) == found(project / "a" / "b") == (living, [])
        (project / "a" / ".git").mkdir()
        assert found(project / "a" / "b") == (None, []), "another repository is another project"
    assert found(project) == (None, [])
    assert not list((project / ".aiki").iterdir())


def test_one_that_has_ended_is_passed_over_with_a_word(project: Path, living: DevRecord) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for dead in (replace(living, pid=int(ended.stdout)), replace(living, url=NOBODY_LISTENS)):
        with recorded(dead):
            assert found(project) == (None, [f"the aiki dev of {project} has ended: {dead.url} is passed over"])


def test_one_that_ends_leaves_the_word_of_another(project: Path, living: DevRecord) -> None:
    with recorded(replace(living, pid=1)), recorded(living):
        pass
    with recorded(replace(living, pid=1)):
        (project / ".aiki" / "dev.json").write_text(
            json.dumps({"url": living.url, "namespace": "n", "pid": living.pid})
        )
    assert found(project)[0] is not None


def test_where_it_cannot_be_left_nothing_fails(project: Path, living: DevRecord) -> None:
    (project / ".aiki").rmdir()
    with recorded(living):
        assert found(project) == (None, [])


@pytest.mark.parametrize("what", [".aiki/dev.json", ".aiki"])
def test_what_others_may_have_written_is_passed_over_with_a_word(project: Path, living: DevRecord, what: str) -> None:
    with recorded(living):
        (project / what).chmod(0o777)
        nothing, said = found(project / "a")
        assert (nothing, "can be written by everybody" in said[0], len(said)) == (None, True, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", [".aiki/dev.json", ".aiki"])
def test_what_belongs_to_somebody_else_is_passed_over_with_a_word(project: Path, living: DevRecord, what: str) -> None:
    with recorded(living):
        os.chown(project / what, 12345, 12345)
        nothing, said = found(project)
        assert (nothing, "belongs to uid 12345" in said[0]) == (None, True)


def test_no_link_is_followed(project: Path, living: DevRecord) -> None:
    with recorded(living):
        (project / ".aiki" / "dev.json").rename(project / "moved.json")
        (project / ".aiki" / "dev.json").symlink_to(project / "moved.json")
        assert found(project) == (None, [])
        (project / ".aiki" / "dev.json").unlink()
        (project / ".aiki").rename(project / "moved")
        (project / ".aiki").symlink_to(project / "moved")
        (project / "moved.json").rename(project / "moved" / "dev.json")
        assert found(project) == (None, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[" * 4000,
        '{"url": "nats://elsewhere:4222", "namespace": "n", "pid": 1}',
        '{"url": "nats://127.0.0.1:x", "namespace": "n", "pid": -1}',
        '{"url": "nats://[", "namespace": "n", "pid": 1}',
        '{"url": 5, "namespace": "n", "pid": 1}',
    ],
)
def test_what_is_no_word_of_ours_is_none(project: Path, text: str) -> None:
    (project / ".aiki" / "dev.json").write_text(text)
    assert found(project) == (None, [])


def test_a_process_id_that_is_none_is_that_of_one_that_has_ended(project: Path) -> None:
    (project / ".aiki" / "dev.json").write_text(f'{{"url": "{NOBODY_LISTENS}", "namespace": "n", "pid": {10**30}}}')
    assert found(project)[0] is None
    (project / ".aiki" / "dev.json").write_text('{"url": "nats://127.0.0.1:99999", "namespace": "n", "pid": 1}')
    assert found(project)[0] is None
