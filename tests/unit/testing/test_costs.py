"""What a test in memory asks of its engine: no more requests than there are steps, and no replay."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from aiki.testing import TestEnv
from aiki.wire.messages import Request
from bench.testing import approval, approved, small

pytestmark = pytest.mark.anyio


def counting(env: TestEnv) -> Counter[str]:
    """Count what is asked of the engine from now on."""
    stage = env._stage
    assert stage is not None
    engine, asked = stage.engine, Counter[str]()
    answer = engine.answer

    def counted(request: Request[Any]) -> Any:
        asked[request.op] += 1
        return answer(request)

    engine.answer = counted  # type: ignore[method-assign]
    return asked


async def test_a_month_of_steps_costs_a_record_a_step_and_one_claim() -> None:
    async with TestEnv() as env:
        asked = counting(env)
        handle = await env.enqueue(approval, 300)
        await env.advance("30d")
        await handle.send(approved, "Grace")
        assert await handle.result() == "Grace"
        assert asked["claim"] <= 2
        assert asked["record"] <= 300 + 31 + 2
        assert sum(asked.values()) - asked["record"] < 20


async def test_a_small_test_costs_a_handful_of_requests() -> None:
    async with TestEnv() as env:
        asked = counting(env)
        assert await (await env.enqueue(small, 7)).result() == 7
        assert sum(asked.values()) <= 8, asked
