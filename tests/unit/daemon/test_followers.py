"""Followers are remembered within bounds, whoever asks and however often; and each is told of at its pace."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from aiki.wire.messages import Follow, Seen
from aikid.tell.followers import RUN_MAX, Followers
from aikid.tell.heard import FOLLOWED_MAX, Elsewhere
from aikid.tell.pace import Pace

pytestmark = pytest.mark.anyio


class Silent:
    """A bus on which nothing is sent."""

    def push(self, subject: str, data: bytes) -> bool:
        return True


def elsewhere() -> Elsewhere:
    return Elsewhere(cast("Any", Silent()))


def followers(**limit: int) -> Followers:
    return Followers(cast("Any", None), cast("Any", None), cast("Any", None), elsewhere(), **limit)


async def test_two_hundred_thousand_registrations_are_not_all_remembered() -> None:
    one = followers()
    for number in range(200_000):
        one.register("a", Follow([Seen("run")], f"_INBOX.{number}", 60.0))
    assert len(one) == RUN_MAX
    for number in range(50_000):
        one.register("a", Follow([Seen(str(number))], "_INBOX.x", 60.0))
    assert len(one) == 10_000, "half of all, since others have a namespace, too"


async def test_who_asks_again_counts_once() -> None:
    one = followers(limit=10)
    for _ in range(3):
        one.register("a", Follow([Seen("1"), Seen("1"), Seen("2")], "_INBOX.x", 60.0))
    assert len(one) == 2


async def test_what_others_say_is_remembered_within_a_bound() -> None:
    one = elsewhere()
    one.heard("a", [str(number) for number in range(FOLLOWED_MAX + 10)])
    assert len(one) == FOLLOWED_MAX
    one.forget_expired()
    assert len(one) == FOLLOWED_MAX


async def test_what_happens_within_a_gap_is_told_of_once_and_after_it() -> None:
    pace: Pace[str] = Pace(gap_seconds=0.05)
    now = asyncio.get_running_loop().time
    pace.stir("a")
    assert await pace.due() == ["a"]
    began = now()
    for _ in range(100):
        pace.stir("a")
        pace.stir("b")
    told = [*await pace.due()]
    told += [] if len(told) == 2 else await pace.due()
    assert told == ["b", "a"]
    assert now() - began >= 0.04


async def test_whoever_is_not_stirred_is_told_of_after_a_rest_and_whoever_is_forgotten_never() -> None:
    pace: Pace[str] = Pace(gap_seconds=0.0, rest_seconds=0.02)
    pace.stir("a")
    pace.stir("b")
    for _ in range(3):
        told = [*await pace.due()]
        while set(told) != {"a", "b"}:
            told += await pace.due()
    pace.forget("a")
    assert [await pace.due(), await pace.due()] == [["b"], ["b"]]


async def test_a_later_date_puts_nothing_off() -> None:
    pace: Pace[str] = Pace(gap_seconds=0.0)
    pace.stir("a", seconds=0.01)
    pace.stir("a", seconds=3_600.0)
    async with asyncio.timeout(5):
        assert await pace.due() == ["a"]
