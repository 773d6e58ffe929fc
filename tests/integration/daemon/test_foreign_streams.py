"""Streams of somebody else's that take in what is ours: they cost a daemon nothing that it can do without them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import nats as nats_py
import pytest
from nats.js.api import StreamConfig

from aiki.core.keyfiles import KeyFiles
from aikid.bus import Bus
from aikid.jetstream import JetStreamDown
from tests.servers import Nats
from tests.waiting import patient

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bus(make_nats: Callable[[], Nats], request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """A daemon's connection to a server with a stream of somebody else's."""
    nats = make_nats()
    other = await nats_py.connect(nats.url)
    await other.jetstream().add_stream(request.param)
    made = Bus(nats.url, KeyFiles(), on_return=lambda: None)
    await made.connect(seconds=patient(3))
    yield made
    await made.aclose()
    await other.close()


EVERYTHING = StreamConfig(name="ALL", subjects=[">"], no_ack=True)
REPLIES = StreamConfig(name="ALL", subjects=["_INBOX.>"])
OURS = StreamConfig(name="ALL", subjects=["aiki.>"])


@pytest.mark.parametrize("bus", [EVERYTHING, REPLIES, OURS], ids=["everything", "replies", "ours"], indirect=True)
async def test_a_daemon_still_knows_that_it_can_be_reached(bus: Bus) -> None:
    await bus.check_rights()
    assert await bus.answers()


@pytest.mark.parametrize("bus", [OURS], ids=["ours"], indirect=True)
async def test_a_hint_stream_that_cannot_be_made_is_told_with_its_reason(bus: Bus) -> None:
    with pytest.raises(JetStreamDown, match="subjects overlap with an existing stream"):
        await bus.ensure_stream()
