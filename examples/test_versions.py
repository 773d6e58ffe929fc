"""Both versions of `greet` in memory, and a run that began before its letters were signed."""

import pytest

from aiki.testing import TestEnv
from examples.versions import greet_v1, greet_v2


@pytest.mark.anyio
async def test_each_run_stays_with_its_version() -> None:
    async with TestEnv() as env:
        old, new = await env.enqueue(greet_v1, "Ada"), await env.enqueue(greet_v2, "Ada", "de")
        assert await old.result() == "Dear Ada"
        assert await new.result() == "Hallo Ada, yours, Aiki"
