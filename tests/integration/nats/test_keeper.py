"""What keeps a connection outlives a cancellation that is not meant for it, and ends at one that nats-py swallows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiki.nats import Away, Connection
from aiki.nats.link import Link
from tests.servers import Nats
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio


async def test_a_keeper_whose_cancellation_was_swallowed_ends_all_the_same(
    make_nats: Callable[[], Nats], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `wait_for()` does on Python 3.11 when a result comes with the cancellation: it would try for ever."""
    nats = make_nats()
    connection = Connection([nats.url], name="test")
    await connection.connect(seconds=patient(3))
    entering, swallowed = asyncio.Event(), asyncio.Event()

    async def enter(*_: Any, **__: Any) -> Link:
        entering.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if swallowed.is_set():
                raise
            swallowed.set()
        raise Away("let in too late")

    monkeypatch.setattr(Link, "open", enter)
    nats.kill9()
    await entering.wait()
    await connection.close()
    assert swallowed.is_set()
    assert "aiki-nats" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_cancellation_that_nobody_asked_for_does_not_end_the_keeper(
    make_nats: Callable[[], Nats], monkeypatch: pytest.MonkeyPatch
) -> None:
    nats = make_nats()
    connection = Connection([nats.url], name="test")
    await connection.connect(seconds=patient(3))
    opened = Link.open
    broken_off = 0

    async def enter(*args: Any, **options: Any) -> Link:
        nonlocal broken_off
        if broken_off < 2:
            broken_off += 1
            raise asyncio.CancelledError
        return await opened(*args, **options)

    monkeypatch.setattr(Link, "open", enter)
    nats.restart()
    await wait_until(lambda: broken_off == 2 and connection.connected, what="the connection to be back")
    await connection.flush(seconds=patient(2))
    await connection.close()
