"""A daemon that froze keeps its share of the calls; it must cost them little, and one that is only slow nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiki.core.errors import Unavailable
from aiki.nats import Connection, Message
from aiki.transport import Transport
from aiki.wire import codec, subjects
from aiki.wire.messages import Status, StatusReply
from tests.servers import Aikids, Nats
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def transport(nats: Nats) -> AsyncIterator[Transport]:
    connection = await Transport.connect(nats.url)
    yield connection
    await connection.close()


async def seconds_of(transport: Transport) -> float:
    began = time.monotonic()
    await transport.call(Status([]), seconds=patient(10))
    return time.monotonic() - began


async def test_a_frozen_daemon_costs_each_call_half_a_second_once_one_has_met_it(
    start_aikid: Aikids, transport: Transport
) -> None:
    start_aikid()
    frozen = start_aikid()
    frozen.pause()
    try:
        await wait_until(lambda: met(transport), patient(10), what="a call that meets the frozen daemon")
        took = sorted(await asyncio.gather(*(seconds_of(transport) for _ in range(30))))
    finally:
        frozen.resume()
    # Each attempt goes to either: of eight calls one meets the frozen one three times.
    assert took[len(took) * 3 // 4] < patient(0.5) + 0.6
    assert took[-1] < patient(6)


async def met(transport: Transport) -> Any:
    return await seconds_of(transport) > 1.5


async def test_a_daemon_that_is_only_slow_is_not_asked_the_more_for_it(nats: Nats, transport: Transport) -> None:
    slow = Connection([nats.url], name="slow")
    await slow.connect(seconds=patient(2))
    asked = 0

    def answer(message: Message) -> None:
        nonlocal asked
        asked += 1
        reply = codec.encode_reply(StatusReply([]))
        asyncio.get_running_loop().call_later(0.8, slow.send, message.reply, reply)

    slow.subscribe(subjects.api("default", "status"), answer, queue=subjects.QUEUE_GROUP)
    try:
        with pytest.raises(Unavailable):
            await transport.call(Status([]), seconds=0.3)
        asked = 0
        assert await seconds_of(transport) < patient(2)
        hurried, asked = asked, 0
        for _ in range(2):
            await seconds_of(transport)
    finally:
        await slow.close()
    assert hurried == 2
    assert asked == 2
