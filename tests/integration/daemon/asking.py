"""Requests that one daemon gets in one turn of its loop, so that they share a batch."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client as Connection

from aiki.wire import codec, subjects
from aiki.wire.messages import Request
from aikid.app import App
from tests.waiting import patient


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
