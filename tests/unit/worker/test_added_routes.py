"""Routes that are added to a session: the daemon is told of them under the lease that is in force in the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.errors import Unavailable
from aiki.execution.lease import Lease
from aiki.wire.messages import OpenSession, Route
from aiki.worker import session as sessions
from tests.unit.worker.sessions import Nowhere, unopened
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


async def test_a_session_that_was_opened_meanwhile_is_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have named its routes before this one was added."""
    told: list[tuple[str, list[str]]] = []
    session = unopened()

    async def send(_: Any, request: OpenSession, **__: Any) -> None:
        told.append((request.id, [route.workflow for route in request.routes]))
        if len(told) == 1:
            session.lease = Lease("second", 30.0)

    monkeypatch.setattr(session, "_send_openings", send)
    telling = asyncio.create_task(session._tell_added(Nowhere()))  # type: ignore[arg-type]  # it is only handed on
    session._add(Route("b", "1"))
    await wait_until(lambda: len(told) == 2, what="the second session to be told")
    telling.cancel()
    assert told == [("first", ["a", "b"]), ("second", ["a", "b"])]


async def test_what_is_added_while_nobody_answers_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "RETRY_SECONDS", 0.01)
    asked = 0
    session = unopened()

    async def send(*_: Any, **__: Any) -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise Unavailable("nobody is there")

    monkeypatch.setattr(session, "_send_openings", send)
    telling = asyncio.create_task(session._tell_added(Nowhere()))  # type: ignore[arg-type]  # it is only handed on
    session._add(Route("b", "1"))
    await wait_until(lambda: asked == 3, what="the daemon to be told")
    await asyncio.sleep(0)
    assert not session._added.is_set()
    telling.cancel()
