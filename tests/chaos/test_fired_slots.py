"""Each slot of a schedule is one run, whatever dies while it is fired; and schedules go on when what they need is back.

They fire each second, so what was missed or fired twice stands beside its neighbours.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from aiki import Client
from aiki.client.when import When
from tests.chaos.cluster import Cluster
from tests.chaos.flows import mixed
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio
POINTS: Final = ["scheduler.before_commit", "scheduler.before_tell"]
SCHEDULES: Final = 5
SECOND: Final = 1_000_000
_SLOTS: Final = """
SELECT c.name, s.slot_us, s.result, (SELECT count(*) FROM aiki.runs r WHERE r.id = s.run_id)
FROM aiki.schedules c JOIN aiki.slots s ON s.schedule_id = c.id WHERE c.namespace = %(ns)s ORDER BY c.name, s.slot_us
"""
_RUNS: Final = "SELECT count(*) FROM aiki.runs WHERE namespace = %(ns)s"


async def declare(cluster: Cluster, client: Client) -> None:
    """Have schedules fire each second whose runs nobody takes up."""
    when = When(every=timedelta(seconds=1), overlap="allow", catch_up="all")
    call = mixed.options(version="unserved").bind(0)
    await client.schedules.apply("chaos", {f"s-{number}": (call, when) for number in range(SCHEDULES)})
    await until_slots(cluster, 1)


def slots(cluster: Cluster) -> dict[str, list[int]]:
    """Return the slots of each schedule that a run was enqueued for, in order; of each one, and no slot else."""
    made: dict[str, list[int]] = {}
    for name, slot, result, count in cluster.query(_SLOTS):
        assert (result, count) == ("started", 1)
        made.setdefault(name, []).append(slot)
    return made


async def until_slots(cluster: Cluster, count: int) -> None:
    """Wait until each schedule has fired so many slots more."""
    before = {name: len(found) for name, found in slots(cluster).items()}

    def have_fired() -> bool:
        after = slots(cluster)
        return len(after) == SCHEDULES and all(
            len(found) >= before.get(name, 0) + count for name, found in after.items()
        )

    await wait_until(have_fired, 20, what=f"{count} slots more of each schedule")


def check(cluster: Cluster) -> None:
    """Each slot from the first to the last was fired, and each run is of one."""
    found = slots(cluster)
    for fired in found.values():
        assert fired == list(range(fired[0], fired[-1] + 1, SECOND))
    assert cluster.query(_RUNS) == [(sum(map(len, found.values())),)]


@pytest.mark.parametrize("point", POINTS)
async def test_a_daemon_killed_while_it_fires_costs_no_slot_and_doubles_none(cluster: Cluster, point: str) -> None:
    cluster.aikid()
    async with cluster.client() as client:
        await declare(cluster, client)
        victim = cluster.aikid(f"{point}=kill")
        await wait_until(lambda: not victim.running, 20, what="the daemon's end")
        await until_slots(cluster, 1)
    check(cluster)


async def test_a_create_whose_reply_was_lost_is_one_schedule(cluster: Cluster) -> None:
    cluster.aikid("schedule.before_reply=drop,trigger.before_reply=drop")
    async with cluster.client() as client:
        schedule = await client.schedules.create("nightly", mixed.bind(0), cron="0 2 * * *")
        handle = await schedule.trigger()
    assert cluster.query("SELECT count(*)::int, (SELECT count(*)::int FROM aiki.schedules) FROM aiki.runs") == [(1, 1)]
    assert cluster.state_of(handle.run_id) == "queued"


async def test_schedules_fire_while_nats_is_away(cluster: Cluster) -> None:
    cluster.aikid()
    async with cluster.client() as client:
        await declare(cluster, client)
    cluster.nats.kill9()
    await until_slots(cluster, 2)
    check(cluster)


async def test_schedules_go_on_when_postgres_is_back(cluster: Cluster) -> None:
    """With all slots: it was not away for as long as a slot is on time."""
    cluster.aikids("", "")
    async with cluster.client() as client:
        await declare(cluster, client)
    cluster.postgres.kill9()
    cluster.postgres.start()
    await until_slots(cluster, 1)
    check(cluster)
