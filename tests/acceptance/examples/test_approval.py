"""The approval of `examples/approval.py` over 30 days, in memory: no server, no waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from aiki import RunEnded
from aiki.testing import TestEnv
from examples.approval import Decision, approve_expense, ask, decided, pay

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["in memory all the time", "replaying at each step"])
async def env(request: pytest.FixtureRequest) -> AsyncIterator[TestEnv]:
    async with TestEnv(always_replay=request.param) as made:
        yield made


async def test_whoever_decides_after_the_reminder_is_still_heard(env: TestEnv) -> None:
    asked = env.mock(ask).returns("sent")
    handle = await env.enqueue(approve_expense, "Ada", 4200, expire_after="28d")
    await env.advance("29d")
    assert [call["again"] for call in asked.calls] == [False, True]
    await handle.send(decided, Decision(ok=True, by="Grace"))
    assert await handle.result() == {"status": "paid", "by": "Grace", "transfer": "42.00 to Ada"}


async def test_nobody_decides_in_30_days(env: TestEnv) -> None:
    handle = await env.enqueue(approve_expense, "Ada", 4200, expire_after="28d")
    await env.advance(timedelta(days=30))
    assert await handle.result() == {"status": "expired"}
    with pytest.raises(RunEnded, match="it is completed"):
        await handle.send(decided, Decision(ok=True, by="Grace"))


async def test_a_payment_that_fails_twice_outlives_a_crash(env: TestEnv) -> None:
    paid = env.mock(pay).fails(ConnectionError("the bank is away"), times=2)
    handle = await env.enqueue(approve_expense, "Ada", 4200)
    await env.crash_worker()
    await handle.send(decided, Decision(ok=True, by="Grace"))
    await env.crash_worker()
    await env.advance("1h")
    assert (await handle.result())["transfer"] == "42.00 to Ada"
    assert len(paid.calls) == 3
