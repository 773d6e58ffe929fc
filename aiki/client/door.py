"""Own what the handles of a client speak through: one door for all of them, so that a handle costs nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from aiki.client import control, explaining, rerouting, retrying, waits
from aiki.client.control import Order
from aiki.client.following import Follows
from aiki.client.named import RouteBook
from aiki.client.rerouting import Reroute
from aiki.client.sending import Parcel, Sending
from aiki.client.unknown import unknown_run
from aiki.client.wire import Wire
from aiki.core.states import TERMINAL
from aiki.definitions.retrying import RetryOrder
from aiki.definitions.view import RunView
from aiki.definitions.why import Why
from aiki.inside.event import BoundEvent
from aiki.wire.messages import Resume, RunStatus, Wake


class ClientDoor:
    """Reads, waits and orders as the client would itself."""

    def __init__(
        self, wire: Wire, waiting: waits.Waits, following: Follows, sending: Sending, routes: RouteBook
    ) -> None:
        self._wire = wire
        self._routes = routes
        self._waits = waiting
        self._follows = following
        self._sending = sending

    async def read(self, run_id: str) -> RunStatus:
        """Return the run as it is now, or the newest of its retries. Raises NotFound."""
        found = await retrying.newest(self._wire, await waits.read(self._wire, [run_id]))
        if run_id not in found:
            raise unknown_run(run_id, self._wire.namespace)
        return (await explaining.explained(self._wire, {run_id: found[run_id]}))[run_id]

    async def why(self, run_id: str) -> Why:
        """Return why the run does not move. Raises NotFound."""
        return await explaining.explain(self._wire, run_id)

    def end(self, run_id: str) -> Coroutine[Any, Any, RunStatus]:
        """Return the run, or the newest of its retries, as soon as it has ended or needs a person. Raises NotFound."""
        return retrying.end(self._waits.end, run_id)

    def changes(self, run_id: str) -> AsyncGenerator[RunStatus, None]:
        """Yield the run as it is now, then again at each change, until it has ended. Raises NotFound."""
        return retrying.changes(self._waits.changes, run_id)

    def follow(self, run_id: str) -> AsyncGenerator[RunView, None]:
        """Yield the run in full as it is now, then again at each change, until it has ended. Raises NotFound."""
        return self._follows.follow([run_id], until=TERMINAL)

    async def send(self, run_id: str, event: BoundEvent[Any], key: str | None) -> None:
        """Put the event into the run's inbox. Raises RunEnded, Conflict, Overloaded, NotFound."""
        outcome = await self._sending.one(run_id, Parcel.of(event), key)
        if outcome.error is not None:
            raise outcome.error

    def pause(self, run_id: str, reason: str | None) -> Coroutine[Any, Any, RunStatus]:
        """Hold the run until it is resumed. Raises NotFound, or Conflict if its state forbids it."""
        return control.obey(self._wire, Order.pause(reason=reason), run_id)

    def cancel(self, run_id: str, reason: str | None, *, force: bool) -> Coroutine[Any, Any, RunStatus]:
        """Cancel the run, or have it told to end. Raises NotFound, or Conflict if it has ended otherwise."""
        return control.obey(self._wire, Order.cancel(reason=reason, force=force), run_id)

    def wake(self, run_id: str) -> Coroutine[Any, Any, RunStatus]:
        """End the sleep that goes on in the run. Raises NotFound, or Conflict if its state forbids it."""
        return control.obey(self._wire, Order(Wake), run_id)

    def resume(self, run_id: str) -> Coroutine[Any, Any, RunStatus]:
        """Let the run go on. Raises NotFound, or Conflict if its state forbids it."""
        return control.obey(self._wire, Order(Resume), run_id)

    def move(self, run_id: str, version: str, *, keep_blocked: bool, force: bool) -> Coroutine[Any, Any, RunStatus]:
        """Have another version carry out the run. Raises NotFound, PayloadError, Conflict if its state forbids it."""
        order = Reroute(version, keep_blocked=keep_blocked, force=force)
        return rerouting.move(self._wire, self._routes, order, run_id)

    async def retry(self, run_id: str, order: RetryOrder) -> tuple[str, bool]:
        """Have another run go on in the run's place. Raises NotFound, or Conflict if it cannot be retried so."""
        found = await retrying.retry(self._wire, self._routes, order, run_id)
        return found.run_id, found.is_new
