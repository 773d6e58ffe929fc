"""How a command's loop ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aiki_cli.running import in_loop


def test_a_look_up_that_goes_on_in_a_thread_holds_up_no_end() -> None:
    held = threading.Event()

    async def command() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().run_in_executor(None, held.wait)

    try:
        with pytest.raises(TimeoutError):
            in_loop(command)
        assert not held.is_set()
    finally:
        held.set()
