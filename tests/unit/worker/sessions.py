"""Own sessions of tests that are not open: nobody serves them."""

from __future__ import annotations

from typing import Any

from aiki.wire.messages import OpenSession, Route
from aiki.worker.inventory import Inventory
from aiki.worker.session import Session, SessionCallbacks


class Nowhere:
    """What a session asks of its transport before it is open, and when nobody serves it."""

    url = "nats://127.0.0.1:1"
    keys = None
    namespace = "default"

    def unserved(self, error: Exception) -> None: ...


def unopened() -> Session:
    """Return the session of a worker that serves one workflow."""
    callbacks = SessionCallbacks(
        on_lost=lambda _: None,
        on_reply=lambda _: None,
        on_news=lambda _: None,
        on_short=lambda _: None,
        on_changed=lambda _: None,
        on_denied=lambda _: None,
    )
    opening = OpenSession("first", "worker", [Route("a", "1")])
    transport: Any = Nowhere()
    return Session(transport, opening, inventory=Inventory(), callbacks=callbacks, denied_seconds=1.0)
