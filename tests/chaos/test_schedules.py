"""Schedules through the changes of clocks in twenty zones, while the daemons that fire them are killed.

SCHEDULED_DAYS=1096 goes through three years; without it through five weeks, in which most of them are changed.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import anyio
import msgspec
import psycopg
import pytest

from aiki import Client
from aiki.core.moments import SECOND, to_datetime, to_wire
from aiki.wire.messages import Fired
from tests.chaos.cluster import Cluster
from tests.chaos.flows import nap
from tests.conformance.clock import Clock
from tests.servers import Aikid, Program
from tests.unit.rules.walls import clock as clock_of
from tests.unit.rules.walls import walk
from tests.waiting import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(0 if "SCHEDULED_DAYS" in os.environ else 180)]

DAYS = int(os.environ.get("SCHEDULED_DAYS", "35"))
SEED = int(os.environ.get("SCHEDULED_SEED", "0"))
BEGIN = datetime(2024 if DAYS > 365 else 2026, 3, 5, 12, tzinfo=UTC)
STEP_DAYS = 5
MINUTE = 60 * SECOND
Connection: TypeAlias = psycopg.AsyncConnection[Any]

ZONES = (
    *("Africa/Cairo", "Africa/Casablanca", "America/Asuncion", "America/Havana", "America/Los_Angeles"),
    *("America/New_York", "America/Nuuk", "America/Santiago", "America/Scoresbysund", "America/St_Johns"),
    *("Antarctica/Troll", "Asia/Beirut", "Asia/Gaza", "Asia/Jerusalem", "Australia/Adelaide"),
    *("Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin", "Pacific/Auckland", "Pacific/Chatham"),
)
CRONS = ("30 2 * * *", "0 0 * * *", "15 */6 * * *", "30 0-3 * * 0,5", "*/20 1-2 * * 0,6")
POINTS = ("", "scheduler.before_commit=kill@{}", "scheduler.before_tell=kill@{}")


async def test_every_slot_has_one_run_through_all_changes_of_clocks_whoever_dies(cluster: Cluster) -> None:
    draw = random.Random(SEED)
    clock = Clock(cluster.database_url)
    clock.now = to_wire(BEGIN, what="the beginning")
    await clock.stop()
    mortals = _Mortals(cluster, draw)
    async with cluster.client() as client, connected(cluster) as connection:
        await declare(client)
        for moment in steps(clock.now, draw):
            await clock.move(connection, moment)
            if draw.random() < 0.3:
                mortals.kill()
            await all_fired(connection, mortals.revived)
    found = fired(cluster)
    assert found == expected()
    assert cluster.query("SELECT DISTINCT kind, result, count FROM aiki.slots") == [("slot", "started", 1)]
    assert mortals.deaths
    print(f"{len(found):,} slots, {mortals.deaths} daemons killed")


async def test_an_outage_of_two_hours_is_caught_up_with_as_each_schedule_says(cluster: Cluster) -> None:
    clock = Clock(cluster.database_url)
    await clock.stop()
    daemon = cluster.aikid()
    every: dict[str, Any] = {"every": "10m", "overlap": "allow"}
    async with cluster.client() as client, connected(cluster) as connection:
        for catch_up in ("none", "latest", "all"):
            await client.schedules.create(catch_up, nap.bind(0), **every, catch_up=catch_up)
        await client.schedules.create("narrow", nap.bind(0), **every, catch_up="all", window="45m")
        daemon.kill9()
        await clock.move(connection, clock.now + 125 * MINUTE)
        daemon.start()
        await all_fired(connection)
    rows = cluster.query(
        "SELECT s.name, t.result, sum(t.count)::int FROM aiki.slots t JOIN aiki.schedules s ON s.id = t.schedule_id"
        " GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert rows == [
        *(("all", "started", 12), ("latest", "missed", 11), ("latest", "started", 1)),
        *(("narrow", "missed", 7), ("narrow", "started", 5), ("none", "missed", 12)),
    ]
    assert len(fired(cluster)) == 18


async def declare(client: Client) -> None:
    """Declare each cron in each zone; what a dead daemon leaves is for others to fire, all of it."""

    async def create(name: str, zone: str, cron: str) -> None:
        how: dict[str, Any] = {"overlap": "allow", "catch_up": "all", "window": "2000d"}
        await client.schedules.create(name, nap.bind(0), cron=cron, timezone=zone, **how)

    async with anyio.create_task_group() as group:
        for one in declared():
            group.start_soon(create, *one)


def declared() -> Iterator[tuple[str, str, str]]:
    for zone in ZONES:
        for number, cron in enumerate(CRONS):
            yield f"{zone.rpartition('/')[2]}-{number}", zone, cron


def steps(begin: int, draw: random.Random) -> Iterator[int]:
    end = begin + DAYS * 1440 * MINUTE
    moment = begin
    while moment < end:
        moment = min(end, moment + draw.randrange(1, 2 * STEP_DAYS * 1440) * MINUTE)
        yield moment


def expected() -> list[tuple[str, datetime]]:
    """Return all slots by a walk minute by minute that knows no library for crons."""
    first, last = to_wire(BEGIN, what="the beginning"), to_wire(BEGIN + timedelta(days=DAYS), what="the end")
    found: list[tuple[str, datetime]] = []
    for zone, ones in groupby(declared(), key=lambda one: one[1]):
        shown = clock_of(ZoneInfo(zone), BEGIN - timedelta(days=1), DAYS + 2)
        minutes = ((name, minute * MINUTE) for name, _, cron in ones for minute in walk(cron, shown))
        found += [(name, to_datetime(slot)) for name, slot in minutes if first < slot <= last]
    return sorted(found)


def fired(cluster: Cluster) -> list[tuple[str, datetime]]:
    """Return of which slots there are runs, one for each."""
    rows = cluster.query("SELECT fired FROM aiki.runs WHERE namespace = %(ns)s")
    slots = [msgspec.json.decode(row, type=Fired) for (row,) in rows]
    return sorted((slot.schedule, to_datetime(slot.slot)) for slot in slots)


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(cluster.database_url, autocommit=True) as connection:
        yield connection


async def all_fired(connection: Connection, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until nothing is due, and all daemons have lived that long."""

    async def nothing_is_due() -> bool:
        cursor = await connection.execute("SELECT EXISTS (SELECT FROM aiki.schedules WHERE due_at <= aiki.now())")
        return alive() and await cursor.fetchone() == (False,)

    await wait_until(nothing_is_due, 60.0, what="all that is due has fired")


class _Mortals:
    """Two daemons that die somewhere in what they do for schedules; others take their places."""

    def __init__(self, cluster: Cluster, draw: random.Random) -> None:
        self.deaths = 0
        self._draw = draw
        self._daemons = [cluster.aikid(start=False) for _ in range(2)]
        for one in self._daemons:
            Program.start(one)
        for one in self._daemons:
            one.wait_for_log(Aikid.READY)

    def kill(self) -> None:
        """Kill one of them, wherever it is."""
        self._draw.choice(self._daemons).kill9()

    def revived(self) -> bool:
        """Have another daemon be for each that has died; return whether all have lived."""
        dead = [one for one in self._daemons if not one.running]
        for one in dead:
            self.deaths += 1
            one.env["AIKI_FAILPOINTS"] = self._draw.choice(POINTS).format(self._draw.randrange(1, 6))
            Program.start(one)
        return not dead
