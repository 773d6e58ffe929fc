"""Own who watches which run at this daemon, and what they are told.

A watcher's registration is memory only: it asks again before it runs out, at any daemon, so losing it costs seconds.
So there is a bound to what is kept, and a share of it for each namespace and run: whoever watches beyond it is answered
all the same, and hears of a change when it asks again. What a run's status says that never changes is kept from the
watcher's own read, if it is small, so that telling of an end needs none.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from aiki.core.states import SETTLED, TERMINAL, Move, State
from aiki.wire.messages import NONE, NewRun, RunStatus, Watch
from aikid.engine.changes import Ended, RunKey

SECONDS_MAX: Final = 120.0
WATCHES_MAX: Final = 200_000
"""Registrations, each an inbox at a run: some 400 bytes, and a kept status as much. A namespace may have half."""
RUN_MAX: Final = 100
"""Inboxes at one run."""
_KEPT_CHARS: Final = 1_000
_LOOKED_AT: Final = 5_000


@dataclass(slots=True)
class _Watched:
    status: RunStatus | None = None
    inboxes: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """By inbox: until when (the loop's time), and whether only ends are told."""

    def keep(self, status: RunStatus) -> None:
        """Remember the status, unless it is large: then it is read when it is needed."""
        labels = sum(len(name) + len(value) for name, value in status.labels.items()) if status.labels else 0
        self.status = status if labels + len(status.why or "") <= _KEPT_CHARS else None


class Watchers:
    """The registrations of this daemon."""

    def __init__(self, limit: int = WATCHES_MAX) -> None:
        self._limit = limit
        self._runs: dict[RunKey, _Watched] = {}
        self._counts: Counter[str] = Counter()
        """Registrations by namespace."""
        self._total = 0

    def __contains__(self, run: object) -> bool:
        return run in self._runs

    def __len__(self) -> int:
        return self._total

    def watch(self, namespace: str, request: Watch) -> None:
        """Register the inbox for the request's runs, as far as there is room.

        Do this before the read, or a change between them is lost.
        """
        until = asyncio.get_running_loop().time() + min(max(request.seconds, 0.0), SECONDS_MAX)
        for run_id in request.ids:
            watched = self._runs.get((namespace, run_id))
            if watched is None or request.inbox not in watched.inboxes:
                if not self._has_room(namespace) or (watched is not None and len(watched.inboxes) >= RUN_MAX):
                    continue
                if watched is None:
                    watched = self._runs[namespace, run_id] = _Watched()
                self._count(namespace, 1)
            watched.inboxes[request.inbox] = (until, request.ends_only)

    def saw(self, namespace: str, ids: Iterable[str], statuses: dict[str, RunStatus]) -> None:
        """Take what the read found: an ended or unknown run is not watched any longer."""
        for run_id in ids:
            status = statuses.get(run_id)
            if status is None or status.state in TERMINAL:
                self._forget((namespace, run_id))
            elif (watched := self._runs.get((namespace, run_id))) is not None:
                watched.keep(status)

    def born(self, namespace: str, runs: Iterable[NewRun], now: int, others: Container[str]) -> None:
        """Take new runs as they are without a read; of the `others`, due later or known before, one will be made."""
        for run in runs:
            watched = self._runs.get((namespace, run.id))
            if watched is None or watched.status is not None or run.id in others:
                continue
            watched.keep(
                RunStatus(
                    run.id,
                    run.workflow,
                    run.version,
                    State.QUEUED,
                    now,
                    key=run.options.key,
                    priority=run.options.priority or 0,
                    labels=run.options.labels,
                )
            )

    def after_end(self, namespace: str, ended: Ended) -> RunStatus | None:
        """Return the run's status after its claim ended, if that is known without a read."""
        run_id, end = ended.unit.fence.run_id, ended.unit.end
        assert end is not None
        watched = self._runs.get((namespace, run_id))
        if watched is None or watched.status is None or ended.tasks is None:
            return None
        if end.move in (Move.CONTINUE, Move.AGAIN):  # what was kept is of a generation, or an attempt, that is over
            watched.status = None
            return None
        if ended.state is State.PAUSED:  # the run's own row says who wants it so
            return None
        return replace(
            watched.status,
            state=ended.state,
            claims=ended.unit.fence.epoch,
            started_at=ended.started_at,
            finished_at=ended.now if ended.state in TERMINAL else None,
            due_at=end.due_at,
            tasks=ended.tasks,
            output=end.output or NONE,
            error=end.error or NONE,
            why=end.why,
            worker=None,
        )

    def told(self, namespace: str, statuses: Sequence[RunStatus]) -> dict[str, list[RunStatus]]:
        """Return the statuses to push by inbox, and forget the runs that ended."""
        now = asyncio.get_running_loop().time()
        news: dict[str, list[RunStatus]] = {}
        for status in statuses:
            key = (namespace, status.id)
            if (watched := self._runs.get(key)) is None:
                continue
            watched.keep(status)
            for inbox, (until, ends_only) in watched.inboxes.items():
                if until >= now and (not ends_only or status.state in SETTLED):
                    news.setdefault(inbox, []).append(status)
            if status.state in TERMINAL:
                self._forget(key)
        return news

    def wants(self, namespace: str, run_id: str, *, end: bool) -> bool:
        """Tell whether a change is of interest here; `end` says that it is one that ends-only watchers are told of."""
        watched = self._runs.get((namespace, run_id))
        if watched is None:
            return False
        return end or any(not ends_only for _, ends_only in watched.inboxes.values())

    def forget_expired(self) -> Iterator[None]:
        """Drop registrations whose time is over; yield now and then, so that others get a turn of the loop."""
        now = asyncio.get_running_loop().time()
        for place, (key, watched) in enumerate(list(self._runs.items())):
            if place % _LOOKED_AT == _LOOKED_AT - 1:
                yield
            if self._runs.get(key) is not watched:
                continue  # it ended meanwhile
            over = [inbox for inbox, (until, _) in watched.inboxes.items() if until < now]
            if len(over) == len(watched.inboxes):
                self._forget(key)
                continue
            for inbox in over:
                del watched.inboxes[inbox]
            self._count(key[0], -len(over))

    def _has_room(self, namespace: str) -> bool:
        return self._total < self._limit and self._counts[namespace] < self._limit // 2

    def _count(self, namespace: str, added: int) -> None:
        self._total += added
        self._counts[namespace] += added
        if not self._counts[namespace]:
            del self._counts[namespace]

    def _forget(self, run: RunKey) -> None:
        if (watched := self._runs.pop(run, None)) is not None:
            self._count(run[0], -len(watched.inboxes))
