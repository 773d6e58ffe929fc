"""The database's clock is set forward and back under load: nobody dies of it, nothing is lost, nothing begins twice."""

from __future__ import annotations

import pytest

from tests.chaos.cluster import Cluster
from tests.clocks import HOUR, set_database_clock
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

SWEPT = "SELECT abs(extract(epoch FROM aiki.now() - swept_at)) < 1 FROM aiki.sweeps"


async def test_runs_go_on_under_a_clock_that_is_set_again_and_again(cluster: Cluster) -> None:
    cluster.aikids("", "")
    for _ in range(2):
        cluster.worker("", "--lease", "3s")
    async with cluster.client() as client:
        # What has been timed before a step back waits for its date: at the end the clock has come to all of them.
        for ahead_seconds in (0, HOUR, 0, -HOUR, 5, -5, 0.2, 2 * HOUR):
            await set_database_clock(cluster.database_url, ahead_seconds=ahead_seconds)
            await cluster.load(client, len(cluster.expected.results) + 4)
            await wait_until(lambda: cluster.query(SWEPT) == [(True,)], what="a sweep by the clock that was set")
        summary = await cluster.finish(client)
    assert summary.takeovers == 0
    assert summary.repeats == summary.runs, "of each run one task has to be tried again"
