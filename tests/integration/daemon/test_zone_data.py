"""Zone data that changes between two firings: each time of a day fires once, and those to come by the new data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aiki.core.moments import SECOND, to_wire
from aiki.rules.scheduling import MOVED
from aikid.engine import firing
from tests.integration.daemon.engine import Engine
from tests.integration.daemon.firing import Standing, declared, fire, latest, put
from tests.zone_data import zone_data

pytestmark = pytest.mark.anyio

PLACE = "Europe/Berlin"
BEHIND, AHEAD = "Europe/London", "Europe/Helsinki"
"""Clocks there show an hour less, and more."""
HOUR = 3_600 * SECOND
MIDNIGHT = to_wire(datetime(2026, 7, 2, tzinfo=UTC), what="midnight")
"""By the data of old clocks show 2:00 then."""


@contextmanager
def clocks_of(folder: Path, other: str) -> Iterator[None]:
    """Go by newer data, by which clocks in the place show what they do in another."""
    with zone_data(folder, f"2999-{other.rpartition('/')[2]}", {PLACE: other}):
        yield


async def at(engine: Engine, clock: Standing, moment: int) -> list[tuple[str, int, str]]:
    """Let time pass up to the moment, fire, and return all that became of slots: by hours behind midnight."""
    await clock.go_on((moment - clock.now) / SECOND)
    await fire(engine)
    return [(slot.result, (slot.slot - MIDNIGHT) // HOUR, slot.reason) for slot in await latest(engine)]


@pytest.fixture
async def two(engine: Engine, clock: Standing) -> None:
    """A schedule that fires at 2:00, some hours before that."""
    await clock.go_on((MIDNIGHT - 5 * HOUR - clock.now) / SECOND)
    await put(engine, declared(cron="0 2 * * *", timezone=PLACE))


@pytest.mark.usefixtures("two")
async def test_a_time_to_come_is_that_of_the_new_data(engine: Engine, clock: Standing, tmp_path: Path) -> None:
    with clocks_of(tmp_path, BEHIND):
        await firing.renew_zones(engine.pool)
        assert await at(engine, clock, MIDNIGHT) == []
        assert await at(engine, clock, MIDNIGHT + HOUR) == [("started", 1, "")]


@pytest.mark.usefixtures("two")
async def test_a_time_that_comes_earlier_by_the_new_data_fires_earlier(
    engine: Engine, clock: Standing, tmp_path: Path
) -> None:
    with clocks_of(tmp_path, AHEAD):
        await firing.renew_zones(engine.pool)
        await fire(engine)
        assert await at(engine, clock, MIDNIGHT - HOUR) == [("started", -1, "")]
        assert await at(engine, clock, MIDNIGHT) == [("started", -1, "")]


@pytest.mark.usefixtures("two")
async def test_a_time_that_has_fired_fires_no_second_time_the_same_day(
    engine: Engine, clock: Standing, tmp_path: Path
) -> None:
    assert await at(engine, clock, MIDNIGHT) == [("started", 0, "")]
    with clocks_of(tmp_path, BEHIND):
        await firing.renew_zones(engine.pool)
        once = [("started", 0, ""), ("missed", 1, MOVED)]
        assert await at(engine, clock, MIDNIGHT + HOUR) == once
        await engine.execute("UPDATE aiki.runs SET state = 'completed'")
        assert await at(engine, clock, MIDNIGHT + 25 * HOUR) == [*once, ("started", 25, "")]


@pytest.mark.usefixtures("two")
async def test_daemons_of_old_and_new_data_fire_each_time_of_a_day_once(
    engine: Engine, clock: Standing, tmp_path: Path
) -> None:
    found = []
    for turn, hour in enumerate(24 * day + hour for day in range(4) for hour in (-1, 0, 1)):
        with clocks_of(tmp_path, BEHIND if turn % 2 else PLACE):
            await firing.renew_zones(engine.pool)
            found = await at(engine, clock, MIDNIGHT + hour * HOUR)
            await engine.execute("UPDATE aiki.runs SET state = 'completed'")
    started = [hour for result, hour, _ in found if result == "started"]
    assert len(started) == 4
    assert [hour // 24 for hour in started] == [0, 1, 2, 3]
