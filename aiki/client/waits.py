"""Own the waiting for runs: one subscription per client, however many runs it waits for.

The daemon pushes a run's changes to the client's inbox (`Watch`). A push can be lost with its daemon or its NATS, so
every wait is asked for again each POLL_SECONDS: a lost push costs seconds, never the answer. While the daemon or its
storage is away, waits go on; their bound is the caller's own timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable
from itertools import islice
from typing import Final

import msgspec

from aiki.client.unknown import unknown_run
from aiki.client.wire import Wire
from aiki.core.errors import FINAL, AikiError, UsageError
from aiki.core.states import SETTLED, TERMINAL, State
from aiki.wire import codec
from aiki.wire.limits import BATCH_RUNS, WATCH_SECONDS
from aiki.wire.messages import RunNews, RunStatus, Status, Watch

POLL_SECONDS: Final = 5.0
TRUST_SECONDS: Final = 1.0
"""For so long an enqueue is trusted to bring the end of its run: the daemon that watches may have died."""
CALL_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.5
EXPECTED_RUNS: Final = 1024
"""Runs that are watched from their enqueue although nobody waits yet."""

log = logging.getLogger("aiki.waits")


class Waits:
    """The runs that a client waits for, and where their news goes."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inbox = ""
        self._ends: dict[str, list[asyncio.Future[RunStatus]]] = {}
        """Who waits for a run's end. A future, not a queue: thousands of runs are waited for at once."""
        self._queues: dict[str, list[asyncio.Queue[RunStatus | AikiError]]] = {}
        """Who wants to see every change of a run."""
        self._wanted: dict[bool, dict[str, None]] = {True: {}, False: {}}
        """Runs to ask the daemon about, by `ends_only`."""
        self._asking: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._expected: OrderedDict[str, tuple[float, RunStatus | None]] = OrderedDict()
        """Runs that the daemon watches from their enqueue: since when, and the end that was pushed already."""
        self._trusting: dict[str, float] = {}
        """Runs that are waited for without having asked, since when: their daemon may have died since the enqueue."""

    async def open(self) -> None:
        """Begin to receive pushes."""
        self._inbox = await self._wire.inbox(self._on_push)
        self._wire.on_return.append(self._on_return)

    async def close(self) -> None:
        """Stop, and tell whoever still waits: nothing will come any more."""
        for task in (self._asking, self._polling):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for run_id in dict.fromkeys([*self._ends, *self._queues]):
            what = f"run {run_id} was still waited for when its client was closed"
            self._tell(run_id, UsageError(what, hint="await it inside of the client's `async with` block"))

    def expect(self, run_ids: list[str]) -> str:
        """Return the inbox to enqueue these runs with: their ends are pushed there, and kept until someone waits."""
        now = time.monotonic()
        for run_id in run_ids:
            self._expected[run_id] = (now, None)
        while len(self._expected) > EXPECTED_RUNS:
            self._expected.popitem(last=False)
        return self._inbox

    async def end(self, run_id: str) -> RunStatus:
        """Return the run as soon as it has ended or needs a person. Raises NotFound for an unknown run."""
        self._wire.check_loop()
        future: asyncio.Future[RunStatus] = asyncio.get_running_loop().create_future()
        waiting = self._ends.setdefault(run_id, [])
        waiting.append(future)
        self._ask_or_recall(run_id)
        self._start_polling()
        try:
            return await future
        finally:
            waiting.remove(future)
            if not waiting and self._ends.get(run_id) is waiting:
                del self._ends[run_id]
                self._trusting.pop(run_id, None)

    async def changes(self, run_id: str) -> AsyncGenerator[RunStatus, None]:
        """Yield the run as it is now, then again at each change, until it has ended. Raises NotFound."""
        self._wire.check_loop()
        queue: asyncio.Queue[RunStatus | AikiError] = asyncio.Queue()
        watching = self._queues.setdefault(run_id, [])
        watching.append(queue)
        self._ask([run_id])
        self._start_polling()
        last: RunStatus | None = None
        try:
            while True:
                news = await queue.get()
                if isinstance(news, AikiError):
                    raise news
                if last is not None and _same(last, news):
                    continue
                last = news
                yield news
                if news.state in TERMINAL:
                    return
        finally:
            watching.remove(queue)
            if not watching and self._queues.get(run_id) is watching:
                del self._queues[run_id]

    def _start_polling(self) -> None:
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())

    def _is_waited_for(self, run_id: str) -> bool:
        return run_id in self._ends or run_id in self._queues

    def _ask_or_recall(self, run_id: str) -> None:
        """Ask about the run, unless it was enqueued just now and is watched since: then its end is pushed.

        One that was pushed to be held may go on by now.
        """
        since, end = self._expected.pop(run_id, (None, None))
        if end is not None and end.state is State.COMPLETED:
            self._tell(run_id, end)  # of any other end there may be a retry by now
        elif end is not None or since is None or time.monotonic() - since > TRUST_SECONDS:
            self._ask([run_id])
        else:
            self._trusting[run_id] = time.monotonic()

    def _ask(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            self._wanted[run_id not in self._queues][run_id] = None
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())

    async def _ask_all(self) -> None:
        """Send what is wanted, in batches; what is asked for meanwhile goes with the next."""
        try:
            while any(self._wanted.values()):
                for ends_only, wanted in self._wanted.items():
                    batch = list(islice(wanted, BATCH_RUNS))
                    for run_id in batch:
                        del wanted[run_id]
                    if batch:
                        await self._ask_batch(batch, ends_only=ends_only)
        finally:
            self._asking = None

    async def _ask_batch(self, batch: list[str], *, ends_only: bool) -> None:
        request = Watch(batch, self._inbox, WATCH_SECONDS, ends_only)
        try:
            reply = await self._wire.call(request, seconds=CALL_SECONDS)
        except FINAL as error:
            for run_id in batch:
                self._tell(run_id, error)
            return
        except AikiError as error:
            self._wire.unserved(error)
            self._wanted[ends_only] |= dict.fromkeys(filter(self._is_waited_for, batch))
            await asyncio.sleep(RETRY_SECONDS)
            return
        rest = batch[len(batch) - reply.rest :]
        missing = set(batch).difference(rest)
        for run in reply.runs:
            missing.discard(run.id)
            self._tell(run.id, run)
        for run_id in missing:
            self._tell(run_id, unknown_run(run_id, self._wire.namespace))
        for run_id in rest:
            self._wanted[ends_only][run_id] = None

    def _on_return(self) -> None:
        """Ask about all runs: what was pushed while NATS was away is lost."""
        self._expected.update((run_id, (-math.inf, end)) for run_id, (_, end) in self._expected.items())
        self._trusting.clear()
        self._ask([*self._ends, *self._queues])

    def _on_push(self, data: bytes) -> None:
        try:
            news = codec.decode(data, RunNews)
        except msgspec.MsgspecError as error:
            # Whoever sees inboxes can write to them.
            log.debug("a push cannot be read: %s", error)
            return
        for run in news.runs:
            self._tell(run.id, run)
        if news.changed:
            self._ask(filter(self._is_waited_for, news.changed))

    def _tell(self, run_id: str, news: RunStatus | AikiError) -> None:
        if run_id in self._expected and isinstance(news, RunStatus):
            self._expected[run_id] = (self._expected[run_id][0], news)
        for future in self._ends.get(run_id, ()):
            if future.done():
                continue
            if isinstance(news, AikiError):
                future.set_exception(news)
            elif news.state in SETTLED:
                future.set_result(news)
        for queue in self._queues.get(run_id, ()):
            queue.put_nowait(news)

    async def _poll(self) -> None:
        asked_all = time.monotonic()
        while True:
            await asyncio.sleep(TRUST_SECONDS)
            now = time.monotonic()
            if now - asked_all >= POLL_SECONDS:
                asked_all = now
                self._trusting.clear()
                self._ask([*self._ends, *self._queues])
            elif self._trusting:
                overdue = [run_id for run_id, since in self._trusting.items() if now - since >= TRUST_SECONDS]
                for run_id in overdue:
                    del self._trusting[run_id]
                self._ask(overdue)


def _same(a: RunStatus, b: RunStatus) -> bool:
    return (a.state, a.claims, a.tasks, a.due_at, a.why) == (b.state, b.claims, b.tasks, b.due_at, b.why)


async def read(wire: Wire, run_ids: list[str]) -> dict[str, RunStatus]:
    """Return the runs that exist, by id, in as many requests as it takes."""
    found: dict[str, RunStatus] = {}
    left = list(dict.fromkeys(run_ids))
    while left:
        batch, left = left[:BATCH_RUNS], left[BATCH_RUNS:]
        reply = await wire.call(Status(batch))
        found |= {run.id: run for run in reply.runs}
        left = batch[len(batch) - reply.rest :] + left
    return found
