"""Own what a run's life comes to for those who compare two of them: its status and its story, as clients read them.

Ids, moments and keys are those that were given: a test has both engines make the same ones.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from aiki import Client
from aiki.client.runs import HistoryEntry
from aiki.definitions.status import RunStatus

Story = list[str]
_WORKER = re.compile(r"\bworker \S+")


async def stories(client: Client) -> dict[str, Story]:
    """Return the stories of all runs of the client's namespace, by id."""
    runs: list[RunStatus] = []
    cursor: str | None = None
    while True:
        page = await client.runs.list(limit=100, cursor=cursor)
        runs += page.runs
        if (cursor := page.cursor) is None:
            break
    return {run.run_id: await _story(client, run.run_id) for run in sorted(runs, key=lambda run: run.run_id)}


async def _story(client: Client, run_id: str) -> Story:
    (status,) = await client.runs.status([run_id], follow=False)
    return [_told(status), *[_line(entry) async for entry in client.runs.history(run_id)]]


def _told(status: RunStatus) -> str:
    members = asdict(status) | {"worker": None}
    return f"{status.workflow} is {status.state}: {_words(members)}"


def _line(entry: HistoryEntry) -> str:
    return f"{entry.move}: {_words(asdict(entry) | {'move': None})}"


def _words(members: dict[str, Any]) -> str:
    told = {name: str(value) for name, value in members.items() if value is not None and value != [] and value != {}}
    return _WORKER.sub("worker W", ", ".join(f"{name}={value}" for name, value in told.items()))
