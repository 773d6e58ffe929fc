"""The nightly report of `examples/nightly.py` in memory: a month of nights, and the one in which the clocks go back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from aiki.testing import TestEnv
from examples.nightly import count_sales, nightly_report, publish

pytestmark = pytest.mark.anyio
BEFORE_THE_CHANGE = datetime(2026, 10, 23, 12, tzinfo=UTC)


async def test_each_night_of_a_month_has_one_report_of_what_came_since_the_last() -> None:
    async with TestEnv(strict=True) as env:
        published = env.mock(publish).returns("published")
        await env.client.schedules.create("nightly", nightly_report.bind("Berlin"), cron="0 2 * * *")
        await env.advance("31d")
        reports = [call["report"] for call in published.calls]
        assert len(reports) == 31
        assert all(later.since == earlier.until for earlier, later in pairwise(reports))


async def test_the_night_in_which_the_clocks_go_back_has_one_report_of_25_hours() -> None:
    async with TestEnv(start=BEFORE_THE_CHANGE) as env:
        counted = env.mock(count_sales)
        call = nightly_report.bind("Berlin")
        await env.client.schedules.create("nightly", call, cron="30 2 * * *", timezone="Europe/Berlin")
        await env.advance("4d")
        spans = [call["until"] - call["since"] for call in counted.calls]
        assert spans == [timedelta(hours=24), timedelta(hours=24), timedelta(hours=25), timedelta(hours=24)]


async def test_a_night_that_failed_is_in_the_next_report() -> None:
    async with TestEnv() as env:
        counted = env.mock(count_sales).returns(72).fails(ConnectionError("no database"), times=3).returns(144)
        await env.client.schedules.create("nightly", nightly_report.bind("Berlin"), cron="@daily")
        await env.advance("3d")
        assert counted.calls[-1]["until"] - counted.calls[-1]["since"] == timedelta(days=2)


async def test_nothing_fires_while_the_schedule_is_paused_but_what_a_person_triggers() -> None:
    async with TestEnv() as env:
        published = env.mock(publish).returns("published")
        nightly = await env.client.schedules.create("nightly", nightly_report.bind("Berlin"), cron="@daily")
        await nightly.pause(note="holidays")
        await env.advance("10d")
        assert not published.calls
        assert await (await nightly.trigger()).result() == "published"
        await nightly.resume()
        await env.advance("1d")
        assert len(published.calls) == 2
