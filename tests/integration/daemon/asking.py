"""A whole daemon on a test's loop, and requests that it gets in one turn of it, so that they share a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client as Connection

from aiki.wire import codec, subjects
from aiki.wire.messages import Request
from aikid.app import App
from aikid.config import Settings
from tests.waiting import patient


@asynccontextmanager
async def running_app(database: str, nats_url: str) -> AsyncIterator[App]:
    """Run a daemon, and yield it when it serves."""
    made, started = App(Settings(database_url=database, nats_url=nats_url)), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run(started=started))
        serving = group.create_task(started.wait())
        await asyncio.wait([running, serving], return_when=asyncio.FIRST_COMPLETED)
        yield made
        running.cancel()


async def ask_together(app: App, bus: Connection, *asked: tuple[str, Request[Any]]) -> list[bytes]:
    """Return the replies to pairs of namespace and request, in order."""
    requests = [(subjects.api(namespace, request.op), codec.encode(request)) for namespace, request in asked]
    return await send_together(app, bus, *requests)


async def send_together(app: App, bus: Connection, *sent: tuple[str, bytes]) -> list[bytes]:
    """Return the replies to pairs of subject and data, in order."""
    inbox = bus.new_inbox()
    subscription = await bus.subscribe(f"{inbox}.*")
    # Not flush(): its PING overtakes the SUB that is still buffered.
    await bus.publish(f"{inbox}.open")
    await subscription.next_msg(timeout=patient(5))
    replies: dict[int, bytes] = {}
    for place, (subject, data) in enumerate(sent):
        if (refused := app.api.accept(subject, f"{inbox}.{place}", data)) is not None:
            replies[place] = refused
    while len(replies) < len(sent):
        message = await subscription.next_msg(timeout=patient(20))
        replies[int(message.subject.rpartition(".")[2])] = message.data
    await subscription.unsubscribe()
    return [replies[place] for place in range(len(sent))]
