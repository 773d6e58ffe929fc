"""Whoever looks over and over looks at once when something is due, misses no word of it, and outlives its failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from aiki.core.errors import ConfigError, Unavailable
from aiki.process.outages import Outage
from aikid.loops.loop import keep_looking
from aikid.tell.alarm import Alarm
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

log = logging.getLogger("tests.loops")
HOUR = 3600.0


def nothing() -> None:
    pass


class Looker:
    """Looks as the test lets it: with `gate` closed a look lasts until it is opened."""

    suffers = "nobody looks"

    def __init__(self, *, every_seconds: float = HOUR, at_look: Callable[[], None] = nothing) -> None:
        self.alarm = Alarm()
        self.every_seconds = every_seconds
        self.begun = 0
        self.ended = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._at_look = at_look

    async def run_once(self) -> None:
        self.begun += 1
        await self.gate.wait()
        self._at_look()
        self.ended += 1


@asynccontextmanager
async def looking(looker: Looker) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(keep_looking(looker, Outage(log, "The storage")))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_the_first_look_is_at_once_and_the_next_when_it_is_told() -> None:
    looker = Looker()
    async with looking(looker):
        for count in (1, 2, 3):
            await wait_until(lambda count=count: looker.ended == count)  # type: ignore[misc]
            looker.alarm.ring()


async def test_what_is_told_during_a_look_is_not_missed() -> None:
    looker = Looker()
    looker.gate.clear()
    async with looking(looker):
        await wait_until(lambda: looker.begun == 1)
        looker.alarm.ring()
        looker.gate.set()
        await wait_until(lambda: looker.ended == 2)


async def test_an_earlier_time_counts_and_a_later_one_does_not() -> None:
    looker = Looker()
    async with looking(looker):
        await wait_until(lambda: looker.ended == 1)
        looker.alarm.due_in(0.001)
        looker.alarm.due_in(HOUR / 2)
        await wait_until(lambda: looker.ended == 2)
        looker.alarm.due_in(HOUR / 2)
        looker.alarm.due_in(0.001)
        await wait_until(lambda: looker.ended == 3)


async def test_without_a_word_it_looks_at_its_time() -> None:
    looker = Looker(every_seconds=0.001)
    async with looking(looker):
        await wait_until(lambda: looker.ended >= 3)


async def test_a_failed_look_is_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    failures = iter([Unavailable("Postgres cannot be used now"), ZeroDivisionError("bug")])

    def fail() -> None:
        if (error := next(failures, None)) is not None:
            raise error

    looker = Looker(every_seconds=0.001, at_look=fail)
    async with looking(looker):
        await wait_until(lambda: looker.ended >= 1)
    said = [(one.name, one.getMessage()) for one in caplog.records]
    assert said == [
        ("tests.loops", "The storage is away: Postgres cannot be used now"),
        ("aikid.loops", "nobody looks: a bug"),
    ]


async def test_a_look_that_finds_that_the_daemon_must_not_go_on_is_the_last() -> None:
    def refuse() -> None:
        raise ConfigError("the database's schema is newer than this aikid")

    with pytest.raises(ConfigError):
        await keep_looking(Looker(at_look=refuse), Outage(log, "The storage"))


async def test_a_cancellation_that_comes_with_the_alarm_ends_it() -> None:
    looker = Looker()
    async with looking(looker) as task:
        await wait_until(lambda: looker.ended == 1)
        looker.alarm.ring()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert looker.begun == 1
