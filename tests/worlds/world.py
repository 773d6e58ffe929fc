"""Own a worker and a daemon in memory, with a clock of their own, for tests of the execution core.

`World` keeps one run's journal and decides by `aiki.rules`, as the daemon does; `World.crash` loses what is not in the
journal.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msgspec import Raw

from aiki.core.errors import AikiError
from aiki.core.states import Move
from aiki.core.states import State as RunState
from aiki.definitions.workflow import Workflow
from aiki.execution import Bench, ClaimedRun, Execution, Lease, Limits, Pools
from aiki.rules import crashing, recording
from aiki.rules.claiming import claimed
from aiki.rules.standing import Standing, resumed, woken
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Attempt, Claimed, End, Entry, Fence, InboxReply, Page, PageReply, Recorded, Unit
from tests.worlds.virtual_loop import VirtualLoop

EPOCH = 1_700_000_000_000_000


class World:
    """The daemon and the worker of one run."""

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        input: bytes = b"{}",
        *,
        limits: Limits | None = None,
        pools: Pools | None = None,
        seed: int = 0,
        run_id: str = "0190b0a0-0000-7000-8000-000000000001",
        latency: tuple[float, ...] = (0.001,),
        page_length: int = 1_000_000,
        message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        self.workflow = workflow
        self.input = input
        self.limits = limits or Limits()
        self.pools = pools or Pools()
        self.random = random.Random(seed)
        self.run_id = run_id
        self.latency = latency
        self.page_length = page_length
        self.message_bytes = message_bytes
        self.standing = Standing(RunState.QUEUED)
        self.journal: list[Entry] = []
        self.attempts: list[Attempt] = []
        self.end: End | None = None
        self.ends: list[Move] = []
        self.units: list[Unit] = []
        self.lingered = 0
        self.execution: Execution | None = None
        self.lease = Lease(certain_until=math.inf)
        self.before_record: Callable[[Unit], Recorded | None] = lambda unit: None
        self.refuse_page: AikiError | None = None
        self.wanted: str | None = None
        """What the daemon says is wanted of the run."""
        self._pending: Unit | None = None
        self._bench: Bench | None = None
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.seconds = self._loop.clock if isinstance(self._loop, VirtualLoop) else self._loop.time
        self.started = self.now()

    # -- Host

    def now(self) -> int:
        return EPOCH + round(self._loop.time() * 1_000_000)

    def record(self, run: ClaimedRun, unit: Unit) -> None:
        assert run is self.execution, "an execution that was lost writes"
        assert self._pending is None, "two units in flight"
        self._pending = unit
        self._loop.call_later(self.random.choice(self.latency), self._commit, run, unit)

    def room(self) -> int:
        return self.message_bytes

    def fetch_page(self, run: ClaimedRun, request: Page) -> None:
        if request.tried_after is None:
            page = PageReply(self.journal[request.after : request.after + self.page_length])
        else:
            tries = sorted(self._last_tries(), key=lambda row: row.key)
            page = PageReply(attempts=[row for row in tries if row.key > request.tried_after][: self.page_length])
        answer = ("on_page", page) if self.refuse_page is None else ("on_page_refused", self.refuse_page)
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, *answer)

    def read_inbox(self, run: ClaimedRun, after: int) -> None:
        self._loop.call_later(
            self.random.choice(self.latency), self._alive, run, "on_inbox", InboxReply(wanted=self.wanted)
        )

    def lingering(self, run: ClaimedRun) -> None:
        self.lingered += 1
        self._changed.set()

    def wants_slot(self, run: ClaimedRun) -> None:
        self._loop.call_later(self.random.choice(self.latency), self._alive, run, "on_slot")

    def ended(self, run: ClaimedRun) -> None:
        assert run is self.execution
        self.execution = None
        self._changed.set()

    # -- the daemon

    @property
    def state(self) -> RunState:
        return self.standing.state

    @property
    def epoch(self) -> int:
        return self.standing.epoch

    def wake(self) -> None:
        """Queue the run if it waits for a time."""
        if self.state in (RunState.SLEEPING, RunState.RETRYING):
            self.standing = woken(self.standing)

    def reopen(self) -> None:
        """Queue the run whatever it has come to, which no daemon does: its journal is to be replayed whole."""
        self.standing = replace(self.standing, state=RunState.QUEUED, due_at=None)

    def claim(self) -> Execution:
        """Claim the run and start it."""
        assert self.execution is None
        self.wake()
        self.standing = claimed(replace(self.standing, length=len(self.journal)), f"claim-{self.epoch + 1}")
        claim = Claimed(
            Fence(self.run_id, self.epoch, f"claim-{self.epoch}"),
            self.run_id,
            self.workflow.name,
            self.workflow.version,
            Raw(self.input),
            self.epoch,
            EPOCH,
            entries=self.journal[: self.page_length],
            length=len(self.journal),
            attempts=tries if len(tries := self._last_tries()) <= self.page_length else [],
            tries=len(tries),
        )
        if self._bench is None or self._bench.lease is not self.lease:
            self._bench = Bench(self.lease, now=self.now, room=self.room, pools=self.pools)
        execution = self.execution = Execution(claim, self.workflow, self, bench=self._bench, limits=self.limits)
        execution.start()
        return execution

    def _last_tries(self) -> list[Attempt]:
        last = {row.key: row for row in sorted(self.attempts, key=lambda row: row.attempt)}
        return list(last.values())

    def crash(self) -> None:
        """Kill the worker: what is not in the journal is lost; a unit on its way is committed or not.

        It goes on however often that happens: a person lets it.
        """
        execution, unit = self.execution, self._pending
        assert execution is not None
        self._pending = None
        if unit is not None and self.random.random() < 0.5:
            self.write(unit)
        execution.drop()
        if self.state is RunState.RUNNING:
            _, lost = crashing.lose(self.standing, is_left=False, now=self.now())
            self.standing = resumed(lost) if lost.state is RunState.BLOCKED else lost

    async def settle(self, *, until: Callable[[], bool] | None = None) -> None:
        """Wait until the claim is over, or `until` holds."""
        while self.execution is not None and not (until is not None and until()):
            self._changed.clear()
            await self._changed.wait()

    async def finish(self, *, claims: int = 100) -> End:
        """Claim the run again and again until it is over or blocked; return its end."""
        for _ in range(claims):
            if self.execution is None:
                if self.standing.due_at is not None:
                    await asyncio.sleep(max(0, (self.standing.due_at - self.now()) / 1_000_000))
                self.claim()
            await self.settle()
            if self.state not in (RunState.QUEUED, RunState.SLEEPING, RunState.RETRYING):
                assert self.end is not None
                return self.end
        raise AssertionError(f"not over after {claims} claims: {self.state}")

    def _commit(self, execution: ClaimedRun, unit: Unit) -> None:
        if execution is not self.execution:
            return
        self._pending = None
        answer = self.before_record(unit)
        if answer is None:
            self.write(unit)
            answer = Recorded("done")
        execution.on_recorded(answer)
        self._changed.set()

    def write(self, unit: Unit) -> None:
        """Do what the daemon does with a unit that is in order."""
        tries = {(one.key, one.attempt): one for one in self.attempts}
        recorded, standing = recording.record(self.standing, unit, self.journal, tries)
        assert recorded == recording.DONE, recorded
        assert unit.base == len(self.journal), "a gap in the journal, or a repeat"
        assert unit.entries or unit.attempts or unit.end is not None, "an empty unit"
        for number, one in recording.tries_of(unit).items():
            # Only a start may be on record already, or what was said: then this is what came of it.
            known = tries.get(number)
            assert known is None or recording.is_under_way(known) or recording.is_start(known) > recording.is_start(one)
            tries[number] = recording.tried(tries.get(number), one)
        self.units.append(unit)
        self.journal += unit.entries
        self.attempts = list(tries.values())
        self.standing = standing
        if unit.end is not None:
            self.end = unit.end
            self.ends.append(unit.end.move)

    def _alive(self, execution: ClaimedRun, method: str, *args: Any) -> None:
        if execution is self.execution:
            getattr(execution, method)(*args)
