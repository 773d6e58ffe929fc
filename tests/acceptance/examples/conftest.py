"""One real worker, started by the command line, that serves all of `examples/aiki.yaml` for this folder's tests."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiki import Client
from tests import servers
from tests.servers import Aikid, Program

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def examples_namespace() -> str:
    return f"examples-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def examples_worker(aikid: Aikid, examples_namespace: str) -> Iterator[Program]:
    """A worker process that serves, with the environment for further commands."""
    env = servers.clean_environment(AIKI_URL=aikid.nats_url, AIKI_NAMESPACE=examples_namespace)
    with servers.server_folder() as folder:
        command = [sys.executable, "-m", "aiki_cli", "worker", "start", "-f", "examples/aiki.yaml"]
        worker = Program(command, folder, name="worker", env=env, cwd=ROOT)
        try:
            worker.start()
            worker.wait_for_log("serves ")
            yield worker
        finally:
            worker.close()


@pytest.fixture
async def client(aikid: Aikid, examples_worker: Program, examples_namespace: str) -> AsyncIterator[Client]:
    async with Client.connect(aikid.nats_url, namespace=examples_namespace) as client:
        yield client
