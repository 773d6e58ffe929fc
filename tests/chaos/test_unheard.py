"""Workers that nobody hears: their stderr is a full pipe. They serve, and when they are to end, they hand over."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import Signals

import pytest

from tests.chaos.cluster import LEASES, PATIENCE, Cluster
from tests.servers import descendants, is_alive
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


@contextmanager
def full_pipe(path: Path) -> Iterator[None]:
    """Make a pipe at `path` that takes no more, and that nobody reads."""
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR)
    os.write(pipe, b"x" * fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ))
    yield
    os.close(pipe)


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("end", [Signals.SIGTERM, Signals.SIGHUP, Signals.SIGKILL])
async def test_workers_that_nobody_hears_hand_over_when_they_or_their_parent_are_to_end(
    served: Cluster, lease: str, end: Signals
) -> None:
    fleet = served.fleet("--processes", "2", "--lease", lease, "--drain", "10s")
    with full_pipe(fleet.log):
        fleet.launch()
        async with served.client() as client:
            await served.load(client, until=lambda: len({effect.worker for effect in served.effects()}) == 2)
            workers = descendants(fleet.pid)
            os.kill(fleet.pid, end)
            await wait_until(lambda: not any(map(is_alive, workers)), PATIENCE, what="the end of the workers")
            served.worker("", "--lease", lease)
            summary = await served.finish(client)
    assert summary.takeovers == 0
