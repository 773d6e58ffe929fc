"""In memory projects say how long runs are kept, and are told so; what has ended stays."""

from __future__ import annotations

import pytest

from aiki import Conflict
from aiki.testing import TestEnv

pytestmark = pytest.mark.anyio


async def test_policies_are_planned_applied_and_told() -> None:
    async with TestEnv() as env:
        policies = env.client.retention
        assert (await policies.apply("shop", {"a": "1d"}, dry_run=True)).pending
        assert [one.retention for one in await policies.list()] == ["keep"]
        await policies.apply("shop", {"a": "1d", "*": "completed=2d"})
        assert [(one.workflow, one.retention) for one in await policies.list()] == [
            ("*", "completed=2d"),
            ("a", "1d"),
            ("*", "keep"),
        ]
        with pytest.raises(Conflict, match="belongs to project 'shop'"):
            await policies.apply("bank", {"a": "1d"})
