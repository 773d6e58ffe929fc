"""The lease's thread: what goes wrong on it while it opens the session reaches who waits for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.worker.sessions import unopened
from tests.waiting import patient

pytestmark = pytest.mark.anyio


async def test_whatever_goes_wrong_while_a_session_opens_is_raised_by_its_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(**_: Any) -> None:
        raise LookupError("nobody has thought of this")

    session = unopened()
    monkeypatch.setattr(session, "_connect", fail)
    with pytest.raises(LookupError, match="nobody has thought of this"):
        await asyncio.wait_for(session.open(), patient(1.0))
    await session.close()
