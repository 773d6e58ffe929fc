"""Own a worker's service: the session, and the ways by which runs come under it, in the order of their start and end.

It wires the parts together. Whoever holds it says when it opens and closes.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from aiki.definitions.routes import route_of
from aiki.execution import Lease, Pools
from aiki.execution.order import HASH_SEED_VARIES
from aiki.wire.limits import SLOTS_TOLD
from aiki.wire.messages import OpenSession
from aiki.worker.claims import Claims
from aiki.worker.code_warnings import CodeWarnings
from aiki.worker.intake import Intake
from aiki.worker.parking import Parking
from aiki.worker.runs import Runs
from aiki.worker.session import Session, SessionCallbacks
from aiki.worker.slots import Slots

if TYPE_CHECKING:
    from aiki.core.errors import Denied
    from aiki.definitions.registry import Registry
    from aiki.definitions.workflow import Workflow
    from aiki.transport import Transport
    from aiki.worker.options import Options

log = logging.getLogger("aiki.worker")


class Serving:
    """What one worker has from its opening to the end of its drain."""

    def __init__(
        self,
        transport: Transport,
        registry: Registry,
        options: Options,
        *,
        pools: Pools,
        shared: Any,
        stopped: asyncio.Event,
        on_denied: Callable[[Denied], None],
    ) -> None:
        """`shared` is what tasks share; no run begins once it is `stopped`.

        `on_denied` is told if NATS goes on refusing the lease's connection.
        """
        self._transport = transport
        self._registry = registry
        self._options = options
        self.slots = Slots(options.slots, self._on_free)
        self.runs = Runs(transport, self.slots)
        served = [route_of(workflow, transport.room) for workflow in registry]
        self.session = Session(
            transport,
            OpenSession(str(uuid.uuid4()), options.id, served, options.lease_seconds, min(options.slots, SLOTS_TOLD)),
            inventory=self.runs.inventory,
            callbacks=SessionCallbacks(
                on_lost=self._on_lease_lost,
                on_reply=self.runs.clock.told,
                on_news=self.runs.news.take,
                on_short=self.runs.doubt,
                on_changed=CodeWarnings(registry).warn,
                on_denied=on_denied,
            ),
            denied_seconds=options.start_seconds,
        )
        self.intake = Intake(
            *(registry, self.runs, self.slots, self.session),
            limits=options.limits,
            pools=pools,
            shared=shared,
            stopped=stopped,
        )
        self.parking: Parking
        self.claims: Claims
        self.claiming: asyncio.Task[None]
        """Ends when claiming has become impossible, or when it is cancelled."""

    async def open(self) -> None:
        """Open the session and begin to claim. Raises Unavailable without a daemon, and what refuses the session."""
        transport, session, slots = self._transport, self.session, self.slots
        await session.open()
        self.runs.listen(session.lease.session)
        routes = [(workflow.name, workflow.version) for workflow in self._registry]
        context, intake = copy_context(), self.intake

        def on_handed(*handed: Any) -> None:
            # As what is claimed: a push comes in the context of the connection, which was made before.
            context.run(intake.handed, *handed)

        self.parking = Parking(transport, session, slots, clock=self.runs.clock, on_handed=on_handed)
        self.claims = Claims(
            *(transport, session, slots, routes, self._options.pace, intake.claimed), parking=self.parking
        )
        self.claiming = asyncio.create_task(self.claims.run())
        self.claiming.add_done_callback(_say_why_over)
        if HASH_SEED_VARIES:
            log.warning(
                "PYTHONHASHSEED is not 0: a workflow that walks through a set of text goes another way in each process,"
                " and is blocked when it is resumed in another one; start this program with PYTHONHASHSEED=0"
            )
        served = ", ".join(f"{name} {version}" for name, version in routes)
        log.info("worker %s serves %s", self._options.id, served)

    def serve(self, workflow: Workflow[..., Any]) -> None:
        """Claim runs of one more workflow."""
        self.session.serve(route_of(workflow, self._transport.room))
        self.claims.serve((workflow.name, workflow.version))

    async def close(self) -> None:
        """Claim nothing more, let tasks end within the drain time, record them, give everything else back at once."""
        self.session.drain()
        self.claiming.cancel()
        await self.parking.close()
        await asyncio.wait([self.claiming])
        await self.runs.drain(self._options.drain_seconds)
        self.intake.close()
        await self.session.close()

    def _on_free(self) -> None:
        self.claims.wake()

    def _on_lease_lost(self, lease: Lease) -> None:
        self.runs.listen(self.session.lease.session)
        self.runs.drop(lease)


def _say_why_over(claiming: asyncio.Task[None]) -> None:
    if not claiming.cancelled() and (error := claiming.exception()):
        log.critical("claiming ended: %s", error, exc_info=error)
