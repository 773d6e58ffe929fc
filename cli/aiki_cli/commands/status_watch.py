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
"""Of more than fit a screen nobody sees the calls, and their daemon need not read them."""


async def views(client: Client, run_ids: Sequence[str]) -> AsyncGenerator[RunView, None]:
    """Yield any of the runs as it changes, until none of them can move by itself."""
    followed = client.runs.follow(run_ids) if len(run_ids) <= FULL_RUNS else _states(client, run_ids)
    async with aclosing(followed) as changes:
        async for view in changes:
            yield view


async def _states(client: Client, run_ids: Sequence[str]) -> AsyncGenerator[RunView, None]:
    from aiki.definitions.view import RunView

    news: asyncio.Queue[RunStatus | None] = asyncio.Queue()

    async def follow(run_id: str) -> None:
        async with aclosing(client.handle(run_id).watch()) as pushed:
            async for run in pushed:
                news.put_nowait(run)
                if exits.of_state(run.state) != exits.STILL_GOING:
                    break
        news.put_nowait(None)

    async with asyncio.TaskGroup() as group:  # whoever leaves early ends them all
        following = [group.create_task(follow(run_id)) for run_id in run_ids]
        left = len(following)
        while left:
            run = await news.get()
            if run is None:
                left -= 1
            else:
                yield RunView(status=run)
