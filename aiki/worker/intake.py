"""Own how what was claimed, or handed over, begins in this worker, or goes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiki.execution import Bench, Execution, Lease, Limits, Pools
from aiki.worker.recorder import TURN_RUNS

if TYPE_CHECKING:
    from aiki.definitions.registry import Registry
    from aiki.wire.messages import Claimed, ClaimReply
    from aiki.worker.claims import Asked
    from aiki.worker.runs import Runs
    from aiki.worker.session import Session
    from aiki.worker.slots import Reservation, Slots


class Intake:
    """The way in of one worker's runs. Of each that comes it is known in the end: begun, given back, or lost."""

    def __init__(
        self,
        registry: Registry,
        runs: Runs,
        slots: Slots,
        session: Session,
        *,
        limits: Limits,
        pools: Pools,
        shared: Any,
        stopped: asyncio.Event,
    ) -> None:
        """What comes once it is `stopped` goes back."""
        self._registry = registry
        self._runs = runs
        self._slots = slots
        self._session = session
        self._limits = limits
        self._pools = pools
        self._shared = shared
        self._stopped = stopped
        self._bench: Bench | None = None

    async def claimed(self, reply: ClaimReply, asked: Asked) -> None:
        """Begin what was claimed. Each run of a reply is begun or given back, unless its session was lost."""
        self._runs.clock.told(reply.now)
        claim_id, inventory = asked.request.claim_id, self._runs.inventory
        # Held before the first one starts: a renewal in between must list the claim.
        given_back = inventory.hold(claim_id, [claimed.fence.run_id for claimed in reply.runs])
        for place, claimed in enumerate(reply.runs, 1):
            # Lost since the claim, or in a turn of this loop: the runs are another's by now, or soon (promise P7).
            if asked.lease is not self._session.lease:
                inventory.let_go(claim_id)
                continue
            why = "the claim's reply came late" if claimed.fence.run_id in given_back else None
            self._take_in(claimed, asked.lease, asked.reservation, declined=why)
            if place % TURN_RUNS == 0:
                await asyncio.sleep(0)

    def handed(self, runs: list[Claimed], lease: Lease, reservation: Reservation, declined: str | None) -> None:
        """Begin what was handed over, or give it back if it is `declined` for a reason."""
        for claimed in runs:
            # A claim that nobody heard of counts for nothing: what is held as of the same epoch is the later one.
            held = self._runs.by_id.get(claimed.fence.run_id)
            if not self._serves(claimed) or (held is not None and held.fence.epoch >= claimed.fence.epoch):
                self._runs.inventory.let_go(claimed.fence.claim_id)
            else:
                self._take_in(claimed, lease, reservation, declined=declined)

    def close(self) -> None:
        """Keep nothing for tries that may come."""
        if self._bench is not None:
            self._bench.close()

    def _serves(self, claimed: Claimed) -> bool:
        return self._registry.get(claimed.workflow, claimed.version) is not None

    def _take_in(self, claimed: Claimed, lease: Lease, reservation: Reservation, *, declined: str | None) -> None:
        runs = self._runs
        workflow = self._registry.get(claimed.workflow, claimed.version)
        if workflow is None:
            raise AssertionError(f"claimed a run of {claimed.workflow} {claimed.version}, which was not asked for")
        other = runs.by_id.get(claimed.fence.run_id)
        if other is not None:
            # The daemon gave the run away and back to us: the earlier claim is fenced by now.
            if other.fence.epoch > claimed.fence.epoch:
                runs.inventory.let_go(claimed.fence.claim_id)
                return
            other.drop()
        run = Execution(claimed, workflow, runs, bench=self._bench_under(lease), limits=self._limits)
        runs.hold(run)
        if declined is not None:
            run.decline(declined)
        elif self._stopped.is_set():
            run.decline("its worker stops")
        elif claimed.wanted is not None:  # its number counts as seen: nobody says it again
            run.decline("it was to be paused when its claim came")
        elif not self._slots.take(run, reservation):
            run.decline("its worker had no slot left")
        else:
            if runs.talk is not None:
                runs.talk.began(claimed)
            run.start()
            runs.news.began(run)

    def _bench_under(self, lease: Lease) -> Bench:
        """Return what tries work with under this lease: one bench for all runs that were claimed under it."""
        if self._bench is None or self._bench.lease is not lease:
            if self._bench is not None:
                self._bench.close()
            runs = self._runs
            self._bench = Bench(
                lease,
                now=runs.clock.now,
                room=runs.room,
                pools=self._pools,
                namespace=runs.namespace,
                shared=self._shared,
            )
        return self._bench
