"""What a user does wrong, typed as a user types it: one worker serves flows that go wrong in each way."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Aikid, Program, clean_environment, warm
from tests.waiting import patient

AIKI = [sys.executable, "-m", "aiki_cli"]
FLOWS = Path(__file__).with_name("flows.py")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Aiki = Callable[..., Done]


@pytest.fixture(scope="session")
def bad_input_environment(aikid: Aikid) -> dict[str, str]:
    """The variables that `aiki` gets: the shared daemon, and a namespace for all of these tests."""
    return clean_environment(AIKI_URL=aikid.nats_url, AIKI_NAMESPACE=f"bad-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def aiki(bad_input_environment: Mapping[str, str], tmp_path: Path) -> Aiki:
    """Run `aiki` with some arguments to its end, in a folder of the test's own."""

    def run(*arguments: str | bytes, stdin: str = "", env: Mapping[str, str] | None = None) -> Done:
        every = {**bad_input_environment, **(env or {})}
        done = warm.run(
            [*AIKI, *map(os.fsdecode, arguments)], stdin=stdin.encode(), env=every, cwd=tmp_path, timeout=patient(60)
        )
        assert "a bug in aiki" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def worker(bad_input_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The one worker that serves the flows."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "flows.py").write_text(FLOWS.read_text())
    program = Program(
        [*AIKI, "worker", "start", "-m", "flows"], folder, name="worker", env=bad_input_environment, cwd=folder
    )
    program.start()
    try:
        program.wait_for_log("serves")
        yield program
    finally:
        program.close()
