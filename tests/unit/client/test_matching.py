"""Filters are heeded as a whole or not at all: an order to runs that were not meant cannot be taken back."""

from __future__ import annotations

from typing import Any, cast

import pytest

from aiki.client import matching
from aiki.client.matching import RunFilter
from aiki.client.wire import Wire
from aiki.core.errors import Unsupported
from aiki.core.states import State
from aiki.wire.messages import ListReply, ListRuns

pytestmark = pytest.mark.anyio


class Daemon:
    """Answers lists with what is given, and keeps what it was asked."""

    def __init__(self, reply: ListReply) -> None:
        self.reply = reply
        self.asked: list[ListRuns] = []

    async def call(self, request: ListRuns, **_: Any) -> ListReply:
        self.asked.append(request)
        return self.reply


NARROWED = [
    RunFilter(workflow="a", version="1"),
    RunFilter(key="a"),
    RunFilter(key_prefix="a"),
    RunFilter(error="E"),
    RunFilter(worker="w"),
    RunFilter(priority=0),
    RunFilter(retried=False),
    RunFilter(not_version="1"),
]


@pytest.mark.parametrize("wanted", NARROWED, ids=lambda wanted: wanted.request().narrowed[0])
async def test_a_daemon_that_passes_over_a_word_is_not_believed(wanted: RunFilter) -> None:
    (word,) = wanted.request().narrowed
    old, new = Daemon(ListReply([])), Daemon(ListReply([], heeded=[word]))
    for refused in (anext(matching.pages(cast("Wire", old), wanted)), matching.count(cast("Wire", old), wanted)):
        with pytest.raises(Unsupported, match=f"does not know how to list runs by {word}"):
            await refused
    assert (await matching.count(cast("Wire", new), wanted)).runs == 0
    assert [ids async for ids in matching.pages(cast("Wire", new), wanted)] == []


async def test_what_each_daemon_knows_is_asked_as_ever() -> None:
    old = Daemon(ListReply([]))
    wanted = RunFilter(workflow="a", states=[State.FAILED], labels={"a": "b"}, roots=True)
    assert [ids async for ids in matching.pages(cast("Wire", old), wanted)] == []
    assert old.asked[0].narrowed == []
