"""`aiki status --watch`: follow runs to their ends; each change is pushed, and what tasks come to is looked for.

A short wait before a retry changes no state and passes in the worker's memory, so nobody is told of it; nor of what a
task says of its progress, and a run shows of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiki import Unavailable
from aiki_cli import exits

if TYPE_CHECKING:
    from aiki import Client, RunStatus
    from aiki.definitions.view import RunView

LOOK_SECONDS: Final = 1.0


async def changes(client: Client, run_ids: Sequence[str]) -> AsyncGenerator[RunStatus, None]:
    """Yield the status of any of the runs as it changes, until none of them can move by itself."""
    followed = _Followed(client)
    async with asyncio.TaskGroup() as group:  # whoever leaves early ends them all
        looking = group.create_task(followed.look())
        for run_id in run_ids:
            group.create_task(followed.follow(run_id))
        left = len(run_ids)
        while left:
            run = await followed.news.get()
            if run is None:
                left -= 1
            else:
                yield run
        looking.cancel()


async def views(client: Client, run_ids: Sequence[str]) -> AsyncGenerator[RunView, None]:
    """Yield any of the runs as it changes, until none of them can move by itself."""
    from aiki.definitions.view import RunView

    async with aclosing(changes(client, run_ids)) as followed:
        async for run in followed:
            yield RunView(status=run)


class _Followed:
    """What is known of the runs by now."""

    def __init__(self, client: Client) -> None:
        self.news: asyncio.Queue[RunStatus | None] = asyncio.Queue()
        """Each change; None for each run that is followed no further."""
        self._client = client
        self._latest: dict[str, RunStatus] = {}

    async def follow(self, run_id: str) -> None:
        """Take in what is pushed of a run, until it cannot move by itself."""
        async with aclosing(self._client.handle(run_id).watch()) as pushed:
            async for run in pushed:
                self._take(run)
                if exits.of_state(run.state) != exits.STILL_GOING:
                    break
        self.news.put_nowait(None)

    async def look(self) -> None:
        """Take in how far the tasks of the runs that run are, and why they do not get on, each second."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            running = [run_id for run_id, run in self._latest.items() if run.state == "running"]
            with suppress(Unavailable):  # whatever changes meanwhile is pushed, or seen at the next look
                for run in await self._client.runs.status(running, follow=False, explain=False) if running else ():
                    known = self._latest[run.run_id]
                    # What was pushed since may be newer.
                    if run.state is known.state and _told(run) != _told(known):
                        self._take(replace(run, retry_of=known.retry_of))

    def _take(self, run: RunStatus) -> None:
        self._latest[run.run_id] = run
        self.news.put_nowait(run)


def _told(run: RunStatus) -> tuple[object, ...]:
    return run.why, run.progress, run.details
