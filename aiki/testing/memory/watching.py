"""Own who watches which run, and what of its changes they are told."""

from __future__ import annotations

from typing import Any

from aiki.core.states import SETTLED
from aiki.testing.memory.run import Run
from aiki.testing.memory.status import status_of
from aiki.testing.memory.store import Store
from aiki.wire.messages import Enqueue, Request, RunNews, RunStatus, Watch


class Watching:
    """The watchers of one engine. They are told until the run has ended, however long that takes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._inboxes: dict[str, dict[str, bool]] = {}
        """By run and inbox: whether only ends are told."""

    def note(self, request: Request[Any]) -> None:
        """Take note of whom a request has watch which runs, before it is carried out."""
        match request:
            case Watch():
                for run_id in request.ids:
                    self._inboxes.setdefault(run_id, {})[request.inbox] = request.ends_only
            case Enqueue(inbox=str(inbox)):
                for run in request.runs:
                    self._inboxes.setdefault(run.id, {})[inbox] = True

    def take(self) -> dict[str, RunNews]:
        """Return what is to be told to each inbox of what has changed; it counts as told."""
        changed, self._store.changed = self._store.changed, {}
        news: dict[str, list[RunStatus]] = {}
        for run in changed.values():
            for inbox in self._told_of(run):
                news.setdefault(inbox, []).append(status_of(self._store, run))
        return {inbox: RunNews(runs) for inbox, runs in news.items()}

    def _told_of(self, run: Run) -> list[str]:
        inboxes = self._inboxes.get(run.id)
        if inboxes is None:
            return []
        if run.is_over:
            del self._inboxes[run.id]
        return [inbox for inbox, ends_only in inboxes.items() if not ends_only or run.state in SETTLED]
