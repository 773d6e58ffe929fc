"""Own the following of runs by those who watch them: a few in full, more of them by their states alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from aiki_cli import exits

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.definitions.view import RunView

FULL_RUNS: Final = 50
"""Of more than fit a screen nobody sees why each waits, and their daemon need not read it."""
SEEN_RUNS: Final = 1_000
"""More are not watched by those who wait for their ends: they see how many have come."""


async def views(client: Client, run_ids: Sequence[str]) -> AsyncGenerator[RunView, None]:
    """Yield any of the runs as it changes, until none of them can move by itself."""
    followed = client.runs.follow(run_ids) if len(run_ids) <= FULL_RUNS else _states(client, run_ids)
    async with aclosing(followed) as changes:
        async for view in changes:
            yield view


async def _states(client: Client, run_ids: Sequence[str]) -> AsyncGenerator[RunView, None]:
    from aiki.definitions.view import RunView

    news: asyncio.Queue[RunStatus | Exception | None] = asyncio.Queue()

    async def follow(run_id: str) -> None:
        try:
            async with aclosing(client.handle(run_id).watch()) as pushed:
                async for run in pushed:
                    news.put_nowait(run)
                    if exits.of_state(run.state) != exits.STILL_GOING:
                        break
        except Exception as error:  # noqa: BLE001 - raised by whoever is told
            news.put_nowait(error)
        else:
            news.put_nowait(None)

    following = [asyncio.create_task(follow(run_id)) for run_id in run_ids]
    try:
        left = len(following)
        while left:
            told = await news.get()
            if isinstance(told, Exception):
                raise told
            if told is None:
                left -= 1
            else:
                yield RunView(status=told)
    finally:
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)
