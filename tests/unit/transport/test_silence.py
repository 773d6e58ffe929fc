"""Attempts beside each other: whatever they come to, nobody is left with an error that nobody has looked at."""

import asyncio
import gc
from typing import Any, NoReturn

import pytest

from aiki.core.errors import Unavailable
from aiki.transport.silence import Silence

pytestmark = pytest.mark.anyio


async def test_of_attempts_that_are_answered_at_once_each_error_is_looked_at() -> None:
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    answered = asyncio.Event()
    waiting = 0

    async def attempt(seconds: float) -> NoReturn:
        nonlocal waiting
        waiting += 1
        if waiting == 3:
            answered.set()
        await answered.wait()
        raise Unavailable("Postgres cannot be used now")

    with pytest.raises(Unavailable):
        await Silence().hurry(attempt, 2.0)
    gc.collect()
    assert (waiting, unseen) == (3, [])
